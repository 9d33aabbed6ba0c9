//! Files with and without mistakes.

use super::{Source, parse};
use crate::placement::{Node, Workload};

const NODES: &str = "name,cpu,memory\na,4,8Gi\nb,2,4Gi\n";
const WORKLOADS: &str = "name,cpu,memory\nx,500m,1Gi\n";

fn read(nodes: &str, workloads: &str) -> Result<(Vec<Node>, Vec<Workload>), Vec<String>> {
    let nodes = Source { name: "n", text: nodes };
    match parse(nodes, Source { name: "w", text: workloads }) {
        Ok(input) => Ok((input.nodes, input.workloads)),
        Err(mistakes) => Err(mistakes.to_string().lines().map(str::to_owned).collect()),
    }
}

#[test]
fn csv_and_json_say_the_same() {
    let csv = read(
        "# the cluster\nname, cpu, memory, zone, labels\n\
         a, 4, 8Gi, east, disk=fast; arch=amd64\n\nb, 2500m, 4G, ,\n",
        "\u{feff}name,replicas,cpu,memory,network,service,selector,avoid,spread\r\n\
         x,3,500m,1Gi,10M,web,disk=fast,web;y,1\r\n\"y\",,,,,,,,\r\n",
    );
    let json = read(
        r#"[{"name": "a", "cpu": 4, "memory": "8Gi", "zone": "east",
             "labels": {"disk": "fast", "arch": "amd64"}},
            {"name": "b", "cpu": 2.5, "memory": 4e9, "zone": null}]"#,
        r#"[{"name": "x", "replicas": 3, "cpu": 0.5, "memory": 1073741824, "network": "10M",
             "service": "web", "selector": "disk=fast", "avoid": ["web", "y"], "spread": 1},
            {"name": "y"}]"#,
    );
    let (nodes, workloads) = csv.unwrap();
    assert_eq!(nodes[0].capacity, [4000, 8 << 30, 0, 0]);
    assert_eq!(nodes[1].capacity, [2500, 4_000_000_000, 0, 0]);
    assert_eq!((nodes[0].labels.len(), nodes[1].zone.as_ref()), (2, None));
    assert_eq!(workloads[0].request, [500, 1 << 30, 10_000_000, 0]);
    assert_eq!((workloads[0].service(), workloads[1].service()), ("web", "y"));
    assert_eq!((workloads[1].replicas, workloads[1].request), (1, [0; 4]));
    assert_eq!(workloads[0].avoid.len(), 2);
    assert_eq!(json.unwrap(), (nodes, workloads));
}

#[test]
fn mistakes_in_nodes_have_line_column_and_value() {
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("", &["n: the file is empty: begin it with name,cpu,memory,network,io,zone,labels"]),
        ("name,cpu,memory\n", &["n: there are no nodes"]),
        ("name,cpu\na,1\n", &["n:1:memory: this column is missing"]),
        ("# all\n\nname,cpu\na,1\n", &["n:3:memory: this column is missing"]),
        ("name,cpu,memry\na,1,1\n",
            &["n:1:memry: there is no such column; did you mean \"memory\"?",
              "n:1:memory: this column is missing"]),
        ("name,cpu,memory,colour\na,1,1,red\n",
            &["n:1:colour: there is no such column; the columns are name,cpu,memory,network,io,zone,labels"]),
        ("name,cpu,memory,cpu\na,1,1,1\n", &["n:1:cpu: this column is here twice"]),
        ("name,cpu,memory\na,1\n", &["n:2: 2 cells, but the head has 3 columns"]),
        ("name,cpu,memory\na,1,1,1\n", &["n:2: 4 cells, but the head has 3 columns"]),
        ("name,cpu,memory\na,two,1GB\nb,NaN,-1\n",
            &["n:2:cpu: \"two\" is not a quantity: write cores such as 500m or 2",
              "n:2:memory: \"1GB\" is not a quantity: write bytes such as 512Mi or 2G",
              "n:3:cpu: NaN is not a finite number",
              "n:3:memory: -1 is negative"]),
        ("name,cpu,memory\n,1,1\n", &["n:2:name: a name is missing"]),
        ("name,cpu,memory\na,1,1\n# not b\na,1,1\n", &["n:4:name: there is another node \"a\""]),
        ("name,cpu,memory\na,0,\n", &["n:2:cpu: node \"a\" has no cpu", "n:2:memory: node \"a\" has no memory"]),
        ("name,cpu,memory,labels\na,1,1,disk\nb,1,1,=x;k=1;k=2\n",
            &["n:2:labels: \"disk\" is not key=value",
              "n:3:labels: \"=x\" is not key=value",
              "n:3:labels: \"k\" is here twice, once as \"1\""]),
        ("name,cpu,memory\n\"a\u{1b}[2J\",1,1\n", &["n:2:name: \"a\\u{1b}[2J\" has control characters"]),
        ("[", &["n:1: this is no JSON: EOF while parsing a list at line 1 column 1"]),
        ("{\"nodes\": []}", &["n:1: this is no list of objects: [{ ... }, ...]"]),
        ("[]", &["n: there are no nodes"]),
        ("[\n7]", &["n:2: 7 is no object"]),
        ("[{\"name\": \"a\",\n\"cpu\": true,\n\"memory\": [1], \"x\": 1}]",
            &["n:2:cpu: true is no value of a cell",
              "n:3:memory: [1] is no value of a cell",
              "n:3:x: there is no such column; the columns are name,cpu,memory,network,io,zone,labels"]),
        ("[{\"name\": \"a\", \"cpu\": 1e400, \"memory\": -2}]",
            &["n:1:cpu: 1e400 is no value of a cell", "n:1:memory: -2 is negative"]),
        ("[{\"cpu\": 1, \"memory\": 1}]", &["n:1:name: a name is missing"]),
    ];
    for (text, expected) in table {
        assert_eq!(read(text, WORKLOADS).unwrap_err(), *expected, "{text}");
    }
}

#[test]
fn mistakes_in_workloads_have_line_column_and_value() {
    let head = "name,cpu,memory,replicas,service,avoid,spread\n";
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("", &["w: there are no workloads"]),
        ("x,1,1,0,,,\n", &["w:2:replicas: workload \"x\" has 0 replicas: at least 1"]),
        ("x,1,1,-1,,,\n", &["w:2:replicas: \"-1\" is not a whole number up to 100000"]),
        ("x,1,1,2.5,,,0.5\n",
            &["w:2:replicas: \"2.5\" is not a whole number up to 100000",
              "w:2:spread: \"0.5\" is not a whole number up to 100000"]),
        ("x,1,1,,,,0\n", &["w:2:spread: workload \"x\" has a spread of 0: at least 1"]),
        ("x,1,1,,,db,\n", &["w:2:avoid: workload \"x\" avoids \"db\", which is no service here"]),
        ("x,1,1,99999,,,\ny,1,1,2,,,\n", &["w: 100001 replicas are more than 100000"]),
        ("x,1,1,2,,,\n\nx/1,1,1,,,,\n", &["w:4:name: there is another workload or replica \"x/1\""]),
    ];
    for (rows, expected) in table {
        assert_eq!(read(NODES, &format!("{head}{rows}")).unwrap_err(), *expected, "{rows}");
    }
}

#[test]
fn both_files_are_read_before_anything_is_said() {
    let mistakes = read("name,cpu,memory\na,x,1\n", "name,cpu,memory\nb,1,y\n").unwrap_err();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].starts_with("n:2:cpu:") && mistakes[1].starts_with("w:2:memory:"));
}
