//! The command from a file to what is printed.

use std::path::PathBuf;

use super::*;
use crate::cli::{ForecastModel, Format};

const NOISE: &str =
    "year,dB\n1986,71.1\n1987,72.4\n1988,72.4\n1989,72.1\n1990,71.4\n1991,72.0\n1992,71.6\n";

struct Case {
    args: ForecastArgs,
    directory: tempfile::TempDir,
}

impl Case {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("load.csv");
        fs::write(&path, text).unwrap();
        let args = ForecastArgs {
            file: Some(path),
            window: 10,
            horizon: 3,
            column: None,
            model: ForecastModel::Auto,
            format: Format { json: false },
            plot: None,
        };
        Self { args, directory }
    }

    fn run(&self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        run(&self.args, &mut Output::plain(&mut bytes))?;
        let place = format!("{}/", self.directory.path().display());
        Ok(String::from_utf8(bytes).unwrap().replace(&place, ""))
    }

    fn json(mut self) -> serde_json::Value {
        self.args.format.json = true;
        serde_json::from_str(&self.run().unwrap()).unwrap()
    }

    fn column(mut self, column: &str) -> Self {
        self.args.column = Some(column.to_owned());
        self
    }

    fn model(mut self, model: ForecastModel) -> Self {
        self.args.model = model;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn ramp(count: i32) -> String {
    let values: Vec<String> = (0..count).map(|k| (100.0 * 1.1_f64.powi(k)).to_string()).collect();
    values.join("\n")
}

#[test]
fn the_answer_of_a_textbook_example() {
    let case = Case::new(NOISE).column("dB").model(ForecastModel::GreyClassic);
    insta::assert_snapshot!(case.run().unwrap(), @r"
    load.csv: 7 values, all in the window

    grey model    classic, a = 0.002344, b = 72.657270, -0.23 % a step
    fit           grade 2, qualified: C 0.4807, P 0.857, mean error 0.234 %
    reach         for medium and long horizons: -a is -0.002
    class ratios  pass: 0.9820 .. 1.0098, allowed 0.7788 .. 1.2840
    forecast      by the classic grey model
    why           asked for

     N  MEASURED   RATIO  FORECAST     GREY     HOLT     LAST
     1   71.1000                    71.1000
     2   72.4000  0.9820            72.4057           71.1000
     3   72.4000  1.0000            72.2362  73.7000  72.4000
     4   72.1000  1.0042            72.0671  73.5440  72.4000
     5   71.4000  1.0098            71.8984  72.8107  72.1000
     6   72.0000  0.9917            71.7301  71.6526  71.4000
     7   71.6000  1.0056            71.5622  72.0122  72.0000
    +1                     71.3946  71.3946  71.6322  71.6000
    +2                     71.2275  71.2275  71.5819  71.6000
    +3                     71.0608  71.0608  71.5317  71.6000
    ");
}

#[test]
fn a_ramp_is_left_to_the_grey_model_and_its_past_is_told() {
    let mut case = Case::new(&ramp(16));
    case.args.horizon = 4;
    insta::assert_snapshot!(case.run().unwrap(), @r"
    load.csv: 16 values, the last 10 in the window

    grey model    unbiased, a = -0.095238, b = 168.720095, +10.00 % a step
    fit           grade 1, good: C 0.0000, P 1.000, mean error 0.000 %
    reach         for medium and long horizons: -a is 0.095
    class ratios  pass: 0.9091 .. 0.9091, allowed 0.8338 .. 1.1994
    forecast      by the grey model
    why           the window passes the gate

     N  MEASURED   RATIO  FORECAST      GREY      HOLT      LAST
     7  177.1561                    177.1561
     8  194.8717  0.9091            194.8717            177.1561
     9  214.3589  0.9091            214.3589  212.5873  194.8717
    10  235.7948  0.9091            235.7948  232.2871  214.3589
    11  259.3742  0.9091            259.3742  254.4982  235.7948
    12  285.3117  0.9091            285.3117  279.3643  259.3742
    13  313.8428  0.9091            313.8428  306.9907  285.3117
    14  345.2271  0.9091            345.2271  337.5335  313.8428
    15  379.7498  0.9091            379.7498  371.2115  345.2271
    16  417.7248  0.9091            417.7248  408.2975  379.7498
    +1                    459.4973  459.4973  449.1115  417.7248
    +2                    505.4470  505.4470  482.3835  417.7248
    +3                    555.9917  555.9917  515.6556  417.7248
    +4                    611.5909  611.5909  548.9277  417.7248

    mean errors over all 3 windows of the series; 3 of them pass the gate
    1 step ahead: auto 0.00 %, Holt 2.26 %, last 9.09 %
    4 steps ahead: auto 0.00 %, Holt 10.25 %, last 31.70 %
    ");
}

#[test]
fn a_jump_is_not_and_is_named_by_its_place_in_the_series() {
    let mut case = Case::new("100\n101\n102\n101\n250\n251\n");
    case.args.window = 4;
    insta::assert_snapshot!(case.run().unwrap(), @r"
    load.csv: 6 values, the last 4 in the window

    grey model    unbiased, a = -0.328332, b = 84.765472, +39.28 % a step
    fit           grade 3, barely qualified: C 0.4729, P 0.750, mean error 23.443 %
    reach         for short horizons: -a is 0.328
    class ratios  FAIL: 0.4040 .. 1.0099, allowed 0.6703 .. 1.4918
    forecast      by the last value
    why           class ratio 0.4040 before value 5 is outside 0.6703 .. 1.4918

     N  MEASURED   RATIO  FORECAST      GREY      HOLT      LAST
     3  102.0000                    101.4142
     4  101.0000  1.0099            141.2517            102.0000
     5  250.0000  0.4040            196.7382  100.0000  101.0000
     6  251.0000  0.9960            274.0208  267.0000  250.0000
    +1                    251.0000  381.6616  296.0800  251.0000
    +2                    251.0000  531.5858  337.9600  251.0000
    +3                    251.0000  740.4031  379.8400  251.0000
    ");
}

#[test]
fn by_itself_a_trend_is_believed_as_far_as_it_fits() {
    // A ramp with the noise of a real one: the model alone goes on, the forecast slows down.
    let noisy = "100\n118\n119\n131\n148\n144\n170\n172\n205\n199\n";
    let json = Case::new(noisy).json();
    assert_eq!(json["model"], "grey");
    let why = json["why"].as_str().unwrap();
    assert!(why.contains("keeps 9") && why.contains("% of the growth"), "{why}");
    let at = |step: usize, field: &str| json["forecast"][step][field].as_f64().unwrap();
    assert!((at(0, "forecast") - at(0, "grey")).abs() < 1e-9);
    for step in 1..3 {
        assert!(at(step, "forecast") < at(step, "grey"), "{step}");
        assert!(at(step, "forecast") > at(step - 1, "forecast"), "{step}");
    }
    let asked = Case::new(noisy).model(ForecastModel::Grey).json();
    assert_eq!(asked["forecast"][2]["forecast"], asked["forecast"][2]["grey"]);
}

#[test]
fn each_model_can_be_asked_for() {
    let forecast = |model| {
        let json = Case::new(&ramp(10)).model(model).json();
        (
            json["model"].as_str().unwrap().to_owned(),
            json["forecast"][2]["forecast"].as_f64().unwrap(),
        )
    };
    let truth = 100.0 * 1.1_f64.powi(12);
    let (name, grey) = forecast(ForecastModel::Grey);
    assert!(name == "grey" && (grey / truth - 1.0).abs() < 1e-9, "{name} {grey}");
    let (name, classic) = forecast(ForecastModel::GreyClassic);
    assert!(name == "grey-classic" && (classic / truth - 1.0).abs() > 1e-4, "{name} {classic}");
    let (name, holt) = forecast(ForecastModel::Holt);
    assert!(name == "holt" && holt > truth * 0.9 && holt < truth * 0.99, "{name} {holt}");
    let (name, last) = forecast(ForecastModel::Last);
    assert!(name == "last" && (last - 100.0 * 1.1_f64.powi(9)).abs() < 1e-9, "{name} {last}");
}

#[test]
fn what_fails_the_gate_is_shifted_where_the_grey_model_is_asked_for() {
    for text in ["100\n101\n250\n251\n", "0\n1\n2\n3\n", "-4\n-3\n-2\n-1\n"] {
        let json = Case::new(text).model(ForecastModel::Grey).json();
        assert!(json["grey"]["shift"].as_f64().unwrap() > 0.0, "{text:?}: {json:#}");
        assert!(json["why"].as_str().unwrap().contains("added first"), "{json:#}");
        // By itself it is not chosen.
        let json = Case::new(text).json();
        assert_eq!(
            (&json["model"], &json["forecast"][0]["forecast"]),
            (&"last".into(), &json["forecast"][0]["last"])
        );
    }
}

#[test]
fn few_constant_and_zero_values_have_an_answer() {
    for (text, model, last) in [
        ("7\n", "last", 7.0),
        ("7\n8\n", "last", 8.0),
        ("0\n0\n0\n0\n0\n", "last", 0.0),
        ("5\n5\n5\n5\n5\n", "grey", 5.0),
        ("3\n-1\n3\n-1\n", "last", -1.0),
    ] {
        let json = Case::new(text).json();
        let forecast = json["forecast"][1]["forecast"].as_f64().unwrap();
        assert_eq!(json["model"], model, "{text:?}");
        assert!((forecast - last).abs() < 1e-9, "{text:?}: {forecast}");
        assert!(Case::new(text).run().is_ok(), "{text:?}");
    }
}

#[test]
fn unusable_input_is_an_error_of_the_input() {
    for (text, model, said) in [
        ("", ForecastModel::Auto, "load.csv: no numbers"),
        ("1\nx\n", ForecastModel::Auto, "load.csv:2: \"x\" is not a number"),
        ("1\n2\n3\n", ForecastModel::Grey, "load.csv: too short: 3 of at least 4 values"),
        ("1\n", ForecastModel::Grey, "load.csv: too short: 1 of at least 4 values"),
        ("1\n", ForecastModel::Holt, "load.csv: too short: 1 of at least 2 values"),
    ] {
        let error = Case::new(text).model(model).run().unwrap_err();
        assert!(error.is::<InputError>(), "{error}");
        assert!(error.to_string().ends_with(said), "{text:?}: {error}");
    }
    let mut nowhere = Case::new("");
    nowhere.args.file = Some("/nowhere/load.csv".into());
    let error = nowhere.run().unwrap_err();
    assert!(
        error.is::<InputError>()
            && error.to_string().starts_with("cannot read /nowhere/load.csv: ")
    );
}

#[test]
fn lines_fit_a_terminal() {
    let texts =
        [ramp(40), "1e-12\n5\n1e15\n-3\n0.001\n".to_owned(), NOISE.replace("year,dB\n", "")];
    for text in texts {
        for model in [ForecastModel::Auto, ForecastModel::Grey] {
            let shown = Case::new(&text).column("1").model(model).run().unwrap();
            let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= 100, "{longest}: {shown}");
        }
    }
}

#[test]
fn the_plot_is_written() {
    let mut case = Case::new(&ramp(12));
    case.args.plot = Some(case.path("out.svg"));
    case.run().unwrap();
    let svg = fs::read_to_string(case.path("out.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("forecast by the grey model"), "{svg}");
    case.args.plot = Some("/nowhere/out.svg".into());
    let error = case.run().unwrap_err();
    assert_eq!(error.to_string(), "cannot write /nowhere/out.svg");
    assert!(!error.is::<InputError>());
}
