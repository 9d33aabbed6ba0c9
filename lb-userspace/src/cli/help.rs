//! The texts that teach: what `--help` says beyond the arguments.

pub(super) const ABOUT: &str = "\
A layer-4 load balancer for containers. An XDP or TC program in the kernel sends each flow to one \
of its service's backends; this program loads it, keeps its tables right and tells what it does.";

pub(super) const EXAMPLES: &str = "\
Begin with:
  weir demo                         see it work, nothing is left behind
  weir check weir.yaml              find every mistake in a configuration
  sudo weir run --config weir.yaml  balance
  sudo weir status                  ask how it goes

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration";

pub(super) const RUN: &str = "\
The configuration is read again when the file changes or on SIGHUP; one with mistakes changes \
nothing. Programs and maps stay pinned when the daemon ends, so flows go on until it is back: \
weir detach takes them away.

Example:
  sudo weir run --config /etc/weir/weir.yaml";

pub(super) const DEMO: &str = "\
Makes network namespaces with a client and three unequal backends, puts load on them and shows \
who gets what. Needs root; touches no interface of this host.

Examples:
  sudo weir demo
  sudo weir demo --seconds 5 --attach xdp";

pub(super) const CHECK: &str = "\
Exit code 2 if there is a mistake. Needs no root and no daemon.

Examples:
  weir check weir.yaml
  weir check weir.yaml --json";

pub(super) const STATUS: &str = "\
Examples:
  sudo weir status
  sudo weir status --json | jq .problems";

pub(super) const SERVICES: &str = "\
Examples:
  sudo weir services
  sudo weir services --watch
  sudo weir services --json | jq '.[] | {name, flows_total}'";

pub(super) const BACKENDS: &str = "\
States: up; drained, by an operator; down, by its health check; closing, out of the configuration \
but with flows left.

Examples:
  sudo weir backends
  sudo weir backends --watch
  sudo weir backends --json | jq '.[] | select(.state == \"down\") | .why'";

pub(super) const FLOWS: &str = "\
Examples:
  sudo weir flows
  sudo weir flows --service web --limit 1000
  sudo weir flows --json | jq '.flows[].client'";

pub(super) const DRAIN: &str = "\
Without /tcp or /udp both are meant. The backend stays drained until weir undrain, also over a \
reload of the configuration.

Examples:
  sudo weir drain 198.18.10.2:8080
  sudo weir drain [fd00:18:10::2]:53/udp";

pub(super) const UNDRAIN: &str = "\
Example:
  sudo weir undrain 198.18.10.2:8080";

pub(super) const WEIGHT: &str = "\
A backend of weight 4 gets twice the new flows of one of weight 2; weight 0 gets none.

Examples:
  sudo weir weight web 198.18.10.2:8080 4
  sudo weir weight web 198.18.10.2:8080 auto";

pub(super) const EXPLAIN: &str = "\
Example:
  sudo weir explain tcp 198.18.0.2:40000 198.18.0.1:80";

pub(super) const DOCKER: &str = "\
Example:
  sudo weir docker ls";

pub(super) const DOCKER_LS: &str = "\
Verdicts: published; held, a backend that gets no new flows at the moment; still, it does not run; \
refused, it is meant for Weir and something is wrong; ignored, it is not meant for Weir.

Examples:
  sudo weir docker ls
  sudo weir docker ls --config weir.yaml
  sudo weir docker ls --json | jq '.containers[] | select(.verdict == \"refused\")'";

pub(super) const SIMULATE: &str = "\
Prints a JSON line for each packet, with the action (pass, drop, redirect, tx), the reason and, \
unless it is dropped, the packet as it leaves. Needs root to run the program, but no daemon and \
no interface. In hex text, blanks are free and # begins a comment.

Examples:
  sudo weir simulate --config weir.yaml --pcap in.pcap --out out.pcap
  sudo weir simulate --config weir.yaml --hex packets.txt --mode tc | jq .reason
  echo 0242c6120a02... | sudo weir simulate --config weir.yaml --hex -";

pub(super) const FORECAST: &str = "\
The grey model GM(1,1) fits an exponential to the last values. It is believed where all class \
ratios (each value divided by the next one) are close enough to 1 and the fit is of grade 3 or \
better; --model grey adds a constant first where they are not. Holt and the last value stand \
beside it. Blank lines and lines that begin with # are left out; a missing value is an error.

Examples:
  weir forecast load.csv
  weir forecast load.csv --column requests --window 12 --horizon 6 --plot load.svg
  seq 100 10 190 | weir forecast
  weir forecast load.csv --json | jq '.forecast[].forecast'";

pub(super) const PLACE: &str = "\
Leaves the nodes evenly used and no service on one of them; replicas that fit nowhere are named with \
the reason. Prints the placement, the use of each node, and what other methods make of it in the \
same time. Needs no root and no daemon, and changes nothing.

Files are CSV with a head, or JSON: a list of objects with the same names. Needed columns first:
  nodes      name,cpu,memory  network,io,zone,labels
  workloads  name,cpu,memory  network,io,replicas,service,selector,avoid,spread

  cpu        cores: 500m, 2                memory  bytes: 512Mi, 2G
  network    bits a second: 100M           io      operations a second: 2k
  labels     disk=fast;arch=amd64
  selector   labels a node must have
  service    what the replicas answer for, else the workload's own name
  avoid      services not to share a node with; its own service for one replica a node
  spread     by how many replicas any two zones may differ

Exit codes: 0 all replicas are placed, 1 some are not, 2 wrong usage or input

Examples:
  weir place --nodes nodes.csv --workloads workloads.csv
  weir place --nodes nodes.csv --workloads workloads.json --budget 5s --plot nodes.svg
  weir place --nodes nodes.csv --workloads workloads.csv --seed 7 --iterations 50 --json
  weir place --nodes nodes.csv --workloads workloads.csv --method kubernetes";

pub(super) const DECAP: &str = "\
For the hosts of backends behind forward: ipip or gue. Needs root and no daemon; the host has the VIPs, on \
lo for instance. A tunnel is opened only if it comes from one of the networks of --from, and what it \
carries goes on only if it is for an address of this host. Everything else is left alone. On SIGTERM \
the program is taken off and the packets are told by what became of them.

Examples:
  sudo weir decap --interface eth0 --from 198.18.0.1/32
  sudo weir decap --interface eth0 --interface eth1 --from fd00::/8 --gue-port 6080 --json";

pub(super) const DETACH: &str = "\
Stop the daemon first. Flows through this host end.

Example:
  sudo weir detach";

pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(weir completions bash)
  weir completions zsh > ~/.zfunc/_weir
  weir completions fish > ~/.config/fish/completions/weir.fish";
