//! The number of database connections must suffice for all functions with their reserved shares.

use std::collections::BTreeMap;

use tests::documents;
use toolkit::endpoints::{Endpoint, OTHER_CONNECTIONS, needed_connections, reserved};

pub(crate) fn problems(endpoints: &[Endpoint]) -> Vec<String> {
    let mut problems = Vec::new();
    let (reserved, needed) = (reserved(endpoints), needed_connections(endpoints));
    let description = &documents::template()["Parameters"]["ReserveConcurrency"]["Description"];
    for text in
        [format!("reserves {reserved} of the account's"), format!("2 * {reserved} + {OTHER_CONNECTIONS} = {needed} ")]
    {
        if !description.as_str().unwrap_or_default().contains(&text) {
            problems.push(format!(
                "template.yaml: the reserved shares of all functions add up to {reserved}. Write `{text}` in \
                 `Parameters/ReserveConcurrency/Description`."
            ));
        }
    }
    let classes = classes();
    let Some((class, _)) = classes.iter().filter(|(_, most)| **most >= needed).min_by_key(|(_, most)| **most) else {
        problems.push(format!(
            "database.yaml: the functions can take {needed} connections, and no class has so many. Lower `reserved` in a Cargo.toml, or add a \
             larger class to `Mappings/Connections` and to `Parameters/DatabaseClass`."
        ));
        return problems;
    };
    if !description.as_str().unwrap_or_default().contains(class) {
        problems.push(format!(
            "template.yaml: {class} is the smallest class with {needed} connections. Name it in `Parameters/ReserveConcurrency/Description`."
        ));
    }
    problems.extend(undocumented(&classes));
    problems
}

/// The number of connections of each class.
fn classes() -> BTreeMap<String, u64> {
    let template = documents::cloudformation("database.yaml");
    let classes = template["Mappings"]["Connections"].as_object().expect("classes").iter();
    let number = |text: &str| text.parse().expect("a number of connections");
    classes.map(|(class, of)| (class.clone(), of["Maximum"].as_str().map(number).expect("a text"))).collect()
}

/// `docs/database.md` has a table of the classes.
fn undocumented(classes: &BTreeMap<String, u64>) -> Vec<String> {
    let page = documents::read("docs/database.md");
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let has_row = |class: &str, most: u64| {
        let mut of_class =
            rows.iter().filter(|cells| cells.get(1).is_some_and(|cell| cell.contains(&format!("`{class}`"))));
        of_class.any(|cells| cells.contains(&most.to_string().as_str()))
    };
    let missing = classes.iter().filter(|(class, most)| !has_row(class, **most));
    let text = missing.map(|(class, most)| {
        format!(
            "docs/database.md: the class `{class}` has {most} connections in database.yaml. Write `{class}` and {most} into a row of the table of \
             classes."
        )
    });
    text.collect()
}
