//! From text to values: durations, numbers, words, networks, paths. Addresses with ports are in
//! `address`. A parser returns the value, or the rule that the text breaks.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    address::{checked_family, plain_number},
    decode::list,
    error::{Mistake, nearest, shown},
};
use crate::model::{
    AllDown, Attach, FlowLimits, Forecast, Forward, HostClients, LabelRule, Ping, Policy,
    ServiceName, Template, Unserved, Weight,
};

/// Longest duration. The dataplane counts in 32-bit ticks that wrap, so ages must stay well below
/// half of that.
const DURATION_MAX: Duration = Duration::from_hours(7 * 24);
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// `2s`, `500ms`, `1m30s`: whole numbers, each with its unit, larger units first; never zero.
pub(super) fn duration(text: &str) -> Result<Duration, Mistake> {
    let rule = || {
        Mistake::new(format!("{} is not a duration", shown(text)))
            .hint("write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`")
    };
    let (mut rest, mut total_ms, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        // What is left of the iterator are the smaller units.
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(rule)?;
        let number: u64 = number.parse().map_err(|_| rule())?;
        total_ms = total_ms.saturating_add(number.saturating_mul(*unit_ms));
        rest = tail;
    }
    match Duration::from_millis(total_ms) {
        _ if text.is_empty() => Err(rule()),
        Duration::ZERO => Err(Mistake::new(format!("{} is no time at all", shown(text)))
            .hint("a duration is at least `1ms`")),
        long if long > DURATION_MAX => {
            Err(Mistake::new(format!("{} is more than 7 days", shown(text))))
        }
        duration => Ok(duration),
    }
}

/// A whole number in decimal digits.
pub(super) fn integer(min: u32, max: u32) -> impl Fn(&str) -> Result<u32, Mistake> {
    move |text| {
        plain_number(text)
            .filter(|number| (u64::from(min)..=u64::from(max)).contains(number))
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| {
                Mistake::new(format!("{} is not a whole number from {min} to {max}", shown(text)))
            })
    }
}

/// A weight.
pub(super) fn weight(text: &str) -> Result<Weight, Mistake> {
    plain_number(text)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(Weight::new)
        .ok_or_else(|| {
            let max = Weight::MAX;
            Mistake::new(format!("weight {} is not a whole number from 0 to {max}", shown(text)))
        })
}

/// The name of a service.
pub(super) fn service_name(text: &str) -> Result<ServiceName, Mistake> {
    ServiceName::new(text).ok_or_else(|| {
        Mistake::new(format!("{} is not a name for a service", shown(text)))
            .hint("1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit")
    })
}

/// A policy.
pub(super) fn policy(text: &str) -> Result<Policy, Mistake> {
    let known = Policy::ALL.map(Policy::name);
    if let Some(policy) = Policy::ALL.into_iter().find(|policy| policy.name() == text) {
        return Ok(policy);
    }
    Err(unknown_word("policy", text, &known))
}

/// A forward mode.
pub(super) fn forward(text: &str) -> Result<Forward, Mistake> {
    let known = Forward::ALL.map(Forward::name);
    let found = Forward::ALL.into_iter().find(|forward| forward.name() == text);
    found.ok_or_else(|| unknown_word("forward mode", text, &known))
}

/// A hook.
pub(super) fn attach(text: &str) -> Result<Attach, Mistake> {
    match text {
        "auto" => Ok(Attach::Auto),
        "xdp" => Ok(Attach::Xdp),
        "xdp-generic" => Ok(Attach::XdpGeneric),
        "tc" => Ok(Attach::Tc),
        other => Err(unknown_word("hook", other, &["auto", "xdp", "xdp-generic", "tc"])),
    }
}

/// What becomes of connections that nobody can serve.
pub(super) fn unserved(text: &str) -> Result<Unserved, Mistake> {
    match text {
        "reset" => Ok(Unserved::Reset),
        "drop" => Ok(Unserved::Drop),
        other => Err(unknown_word("answer", other, &["reset", "drop"])),
    }
}

/// What becomes of echo requests.
pub(super) fn ping(text: &str) -> Result<Ping, Mistake> {
    match text {
        "answer" => Ok(Ping::Answer),
        "pass" => Ok(Ping::Pass),
        other => Err(unknown_word("way with pings", other, &["answer", "pass"])),
    }
}

/// `N/s`
pub(super) fn rate(text: &str) -> Result<u32, Mistake> {
    let max = FlowLimits::RATE_MAX;
    let number = text.strip_suffix("/s").and_then(plain_number);
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.filter(|number| (1..=max).contains(number)).ok_or_else(|| {
        Mistake::new(format!("{} is not a number of flows a second", shown(text)))
            .hint(format!("a whole number from 1 to {max} and `/s`, such as `100/s`"))
    })
}

/// How long a limit saves up what was not used.
pub(super) fn burst(text: &str) -> Result<Duration, Mistake> {
    match duration(text)? {
        long if long > FlowLimits::BURST_MAX => {
            Err(Mistake::new(format!("{} is more than 1 hour", shown(text))))
        }
        burst => Ok(burst),
    }
}

/// `auto`, `off` or a directory.
pub(super) fn host_clients(text: &str) -> Result<HostClients, Mistake> {
    match text {
        "auto" => Ok(HostClients::Auto),
        "off" => Ok(HostClients::Off),
        path if path.starts_with('/') && !path.contains(char::is_control) => {
            Ok(HostClients::Cgroup(PathBuf::from(path)))
        }
        other => Err(Mistake::new(format!(
            "{} is neither `auto` nor `off` nor an absolute path",
            shown(other)
        ))
        .hint("a directory of a cgroup2 hierarchy, such as `/sys/fs/cgroup/user.slice`")),
    }
}

fn unknown_word(noun: &str, text: &str, known: &[&str]) -> Mistake {
    let mistake = Mistake::new(format!("unknown {noun} {}", shown(text)));
    match nearest(text, known.iter().copied()) {
        Some(near) => mistake.hint(format!("did you mean `{near}`?")),
        None => mistake.hint(format!("one of {}", list(known))),
    }
}

/// One of these words.
pub(super) fn one_of<'a>(noun: &str, text: &str, known: &[&'a str]) -> Result<&'a str, Mistake> {
    let found = known.iter().find(|word| **word == text);
    found.copied().ok_or_else(|| unknown_word(noun, text, known))
}

/// `70%`.
pub(super) fn percent(min: u32) -> impl Fn(&str) -> Result<u32, Mistake> {
    move |text| {
        let number = text.strip_suffix('%').and_then(plain_number);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.filter(|number| (min..=100).contains(number)).ok_or_else(|| {
            Mistake::new(format!("{} is not a part from {min}% to 100%", shown(text)))
                .hint("a whole number with `%`, such as `70%`")
        })
    }
}

/// Whether the algorithm is that of Kubernetes.
pub(super) fn algorithm(text: &str) -> Result<bool, Mistake> {
    one_of("algorithm", text, &["weir", "hpa"]).map(|word| word == "hpa")
}

/// How to forecast.
pub(super) fn forecast(text: &str) -> Result<Forecast, Mistake> {
    match text {
        "grey" => Ok(Forecast::Grey),
        "holt" => Ok(Forecast::Holt),
        "none" => Ok(Forecast::None),
        other => Err(unknown_word("forecast", other, &["grey", "holt", "none"])),
    }
}

/// The name of a container, or a label with its value.
pub(super) fn template(text: &str) -> Result<Template, Mistake> {
    if text.contains('=') {
        return label_rule(text).map(Template::Label);
    }
    if is_docker_name(text) {
        return Ok(Template::Name(text.to_owned()));
    }
    Err(Mistake::new(format!("{} is neither the name of a container nor a label", shown(text)))
        .hint("`web-1`, or `name=value`"))
}

/// `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, Mistake> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(Mistake::new(format!("{} is neither `true` nor `false`", shown(other)))),
    }
}

/// `name=value`, or `name`.
pub(super) fn label_rule(text: &str) -> Result<LabelRule, Mistake> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Mistake::new(format!("{} is not a label", shown(text)))
            .hint("`name=value`, or `name` with any value"));
    }
    Ok(LabelRule { key: key.to_owned(), value })
}

/// The name of a Docker network.
pub(super) fn network_name(text: &str) -> Result<String, Mistake> {
    if is_docker_name(text) {
        return Ok(text.to_owned());
    }
    Err(Mistake::new(format!("{} is not the name of a Docker network", shown(text)))
        .hint("of `a-z A-Z 0-9 - _ .`, beginning with a letter or digit"))
}

fn is_docker_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    first && text.bytes().all(rest)
}

/// The one value of `health.tcp`.
pub(super) fn only_true(text: &str) -> Result<(), Mistake> {
    if text == "true" {
        return Ok(());
    }
    Err(Mistake::new(format!("{} is not `true`", shown(text)))
        .hint("`tcp: true` asks for this kind of check; without a check, remove `health`"))
}

/// What to do when all backends fail their checks.
pub(super) fn all_down(text: &str) -> Result<AllDown, Mistake> {
    match text {
        "try" => Ok(AllDown::Try),
        "refuse" => Ok(AllDown::Refuse),
        _ => Err(Mistake::new(format!("{} is neither `try` nor `refuse`", shown(text)))),
    }
}

/// The path of an HTTP request.
pub(super) fn http_path(text: &str) -> Result<String, Mistake> {
    const BYTES_MAX: usize = 1024;
    let mistake = |rule: &str| Mistake::new(format!("path {} {rule}", shown(text)));
    if !text.starts_with('/') {
        return Err(mistake("does not begin with `/`"));
    }
    if text.len() > BYTES_MAX {
        return Err(mistake("is longer than 1024 bytes"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(mistake("has characters that a request cannot carry").hint(
            "spaces, `#`, control characters and letters beyond ASCII are written as `%20`",
        ));
    }
    Ok(text.to_owned())
}

/// A network without host bits.
pub(super) fn network(text: &str) -> Result<IpNet, Mistake> {
    let mistake = |rule: &str| Mistake::new(format!("{} {rule}", shown(text)));
    if let Ok(address) = text.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Err(mistake("has no prefix length").hint(format!("`{address}/{bits}`")));
    }
    let network: IpNet =
        text.parse().map_err(|_| mistake("is not a network").hint("such as `198.18.0.0/15`"))?;
    checked_family(network.addr(), text)
        .map_err(|mistake| mistake.hint("write it as an IPv4 network"))?;
    if network != network.trunc() {
        let masked = network.trunc();
        return Err(
            mistake("has bits beyond its prefix").hint(format!("the network is `{masked}`"))
        );
    }
    Ok(network)
}

/// The name of a network interface, as the kernel takes it.
pub(super) fn interface(text: &str) -> Result<String, Mistake> {
    const BYTES_MAX: usize = 15;
    let mistake = |rule: &str| Mistake::new(format!("interface {} {rule}", shown(text)));
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
    match text {
        "" => Err(Mistake::new("an interface without a name")),
        "auto" => Err(mistake("is not a name")
            .hint("`interfaces: auto`, without brackets, takes those of the default routes")),
        name if name.len() > BYTES_MAX => Err(mistake("is longer than 15 bytes")),
        "." | ".." => Err(mistake("is not a name")),
        name if name.contains(forbidden) => {
            Err(mistake("has a character that the kernel refuses in names"))
        }
        name => Ok(name.to_owned()),
    }
}

/// The path of a Unix socket.
pub(super) fn socket_path(text: &str) -> Result<PathBuf, Mistake> {
    // sockaddr_un has 108 bytes, and the path ends with a zero.
    const BYTES_MAX: usize = 107;
    let path = file_path(text)?;
    if text.len() > BYTES_MAX {
        return Err(Mistake::new(format!("path {} is longer than 107 bytes", shown(text))));
    }
    Ok(path)
}

/// The path of a file.
pub(super) fn file_path(text: &str) -> Result<PathBuf, Mistake> {
    let mistake = |rule: &str| Mistake::new(format!("path {} {rule}", shown(text)));
    match text {
        path if !path.starts_with('/') => Err(mistake("is not absolute")),
        path if path.ends_with('/') => Err(mistake("is a directory")),
        path if path.contains(char::is_control) => Err(mistake("has control characters")),
        path => Ok(PathBuf::from(path)),
    }
}

/// The path of a cgroup. Whether it is there changes while the daemon runs.
pub(super) fn cgroup(text: &str) -> Result<Arc<Path>, Mistake> {
    // PATH_MAX has room for a zero.
    const BYTES_MAX: usize = 4095;
    let mistake = |rule: &str| {
        Mistake::new(format!("cgroup {} {rule}", shown(text)))
            .hint("the directory of the backend's processes, such as `/sys/fs/cgroup/cpu/web1`")
    };
    match Path::new(text) {
        path if !path.is_absolute() => Err(mistake("is not an absolute path")),
        _ if text.len() > BYTES_MAX => Err(mistake("is longer than 4095 bytes")),
        _ if text.contains(char::is_control) => Err(mistake("has control characters")),
        path if path.components().any(|part| part == Component::ParentDir) => {
            Err(mistake("has `..` in it"))
        }
        path if path.parent().is_none() => Err(mistake("has all processes of the host in it")),
        // As it would be written without `.` and doubled slashes.
        path => Ok(path.components().collect::<PathBuf>().into()),
    }
}

/// A loopback address and port, or `false`.
pub(super) fn admin_http(text: &str) -> Result<Option<SocketAddr>, Mistake> {
    if text == "false" {
        return Ok(None);
    }
    let mistake = |rule: &str| Mistake::new(format!("{} {rule}", shown(text)));
    let address: SocketAddr = text.parse().map_err(|_| {
        mistake("is neither an address with a port nor `false`").hint("such as `127.0.0.1:9090`")
    })?;
    if !address.ip().is_loopback() {
        let hint = format!("`127.0.0.1:{}`, and a proxy that asks who is there", address.port());
        return Err(
            mistake("is not a loopback address; this door asks nobody who they are").hint(hint)
        );
    }
    if address.port() == 0 {
        return Err(mistake("has port 0; ports run from 1 to 65535"));
    }
    Ok(Some(address))
}
