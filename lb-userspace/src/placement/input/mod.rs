//! Nodes and workloads as files: CSV or JSON in, a [`Problem`] or every mistake out, each with
//! file, line and column.

mod fields;
mod mistake;
mod records;
#[cfg(test)]
mod tests;

use fields::Fields;
pub use mistake::{InputMistake, InputMistakes};
use records::{Column, Record, read};

use super::{
    amount::Dimension,
    model::{Node, REPLICAS_MAX, Subject, Workload},
    problem::Problem,
};

/// A file and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Input {
    /// The nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// The workloads, in the order of the file.
    pub workloads: Vec<Workload>,
    /// Both, ready for search.
    pub problem: Problem,
}

/// The columns of a file of nodes.
const NODE_COLUMNS: [Column; 7] = [
    Column::needed("name"),
    Column::needed("cpu"),
    Column::needed("memory"),
    Column::optional("network"),
    Column::optional("io"),
    Column::optional("zone"),
    Column::optional("labels"),
];

/// The columns of a file of workloads.
const WORKLOAD_COLUMNS: [Column; 10] = [
    Column::needed("name"),
    Column::needed("cpu"),
    Column::needed("memory"),
    Column::optional("network"),
    Column::optional("io"),
    Column::optional("replicas"),
    Column::optional("service"),
    Column::optional("selector"),
    Column::optional("avoid"),
    Column::optional("spread"),
];

/// Reads both files.
pub fn parse(nodes: Source<'_>, workloads: Source<'_>) -> Result<Input, InputMistakes> {
    let mut mistakes = Vec::new();
    let node_records = read(nodes, &NODE_COLUMNS, &mut mistakes);
    let workload_records = read(workloads, &WORKLOAD_COLUMNS, &mut mistakes);
    let parsed_nodes: Vec<Node> = each(nodes, &node_records, &mut mistakes, node);
    let parsed: Vec<Workload> = each(workloads, &workload_records, &mut mistakes, workload);
    if !mistakes.is_empty() {
        return Err(InputMistakes(mistakes));
    }
    match Problem::new(&parsed_nodes, &parsed) {
        Ok(problem) => Ok(Input { nodes: parsed_nodes, workloads: parsed, problem }),
        Err(wrong) => {
            let place = |subject| match subject {
                Subject::Nodes => (nodes, None),
                Subject::Workloads => (workloads, None),
                Subject::Node(index, column) => (nodes, Some((&node_records[index], column))),
                Subject::Workload(index, column) => {
                    (workloads, Some((&workload_records[index], column)))
                }
            };
            let located = wrong.iter().map(|mistake| {
                let (source, cell) = place(mistake.subject());
                InputMistake {
                    file: source.name.to_owned(),
                    line: cell.map(|(record, column)| record.line_of(column)),
                    column: cell.map(|(_, column)| column.to_owned()),
                    message: mistake.to_string(),
                }
            });
            Err(InputMistakes(located.collect()))
        }
    }
}

fn each<T>(
    source: Source<'_>,
    records: &[Record],
    mistakes: &mut Vec<InputMistake>,
    one: impl Fn(&mut Fields<'_>) -> T,
) -> Vec<T> {
    records.iter().map(|record| one(&mut Fields::new(source.name, record, mistakes))).collect()
}

fn node(fields: &mut Fields<'_>) -> Node {
    Node {
        name: fields.name(),
        capacity: Dimension::ALL.map(|dimension| fields.amount(dimension)),
        zone: fields.text("zone"),
        labels: fields.pairs("labels"),
    }
}

fn workload(fields: &mut Fields<'_>) -> Workload {
    let most = u32::try_from(REPLICAS_MAX).unwrap_or(u32::MAX);
    Workload {
        name: fields.name(),
        service: fields.text("service"),
        replicas: fields.number("replicas", most).unwrap_or(1),
        request: Dimension::ALL.map(|dimension| fields.amount(dimension)),
        selector: fields.pairs("selector"),
        avoid: fields.list("avoid"),
        spread: fields.number("spread", most),
    }
}
