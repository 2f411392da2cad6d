//! `cargo xtask requirements` writes and checks the test columns of docs/security.md and docs/operations.md.
//!
//! docs/security.md lists the tests that prove each requirement. docs/operations.md lists the tests that cause each fault. A
//! comment above each of these tests contains the number of the requirement or fault.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use toolkit::{console::say, workspace::Workspace};

/// List each requirement of docs/security.md and each fault of docs/operations.md with its tests, and fail if one has no test.
///
/// A comment above a test contains its numbers: `// Requirement 15.`, `// Requirements 14, 33.` or `// Fault 5.` The last column
/// of each table lists the tests by file and function.
#[derive(clap::Args)]
pub struct Args {
    /// Write the last columns instead of comparing them
    #[arg(long)]
    write: bool,
}

/// A document with numbered rows, and the word that comes before the numbers in the comments of tests.
struct Register {
    document: &'static str,
    word: &'static str,
}

const REGISTERS: [Register; 2] = [
    Register { document: "docs/security.md", word: "Requirement" },
    Register { document: "docs/operations.md", word: "Fault" },
];
const SOURCES: [&str; 7] =
    ["shared/src", "functions", "tests", "model/tests", "toolkit/src", "xtask/src", "delivery/src"];

/// The tests of each number, as `path/of/file.rs::function`.
type Tests = BTreeMap<u32, Vec<String>>;

pub fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    if args.write {
        for Register { document, word } in REGISTERS {
            let path = workspace.root.join(document);
            let written = with_tests(&fs::read_to_string(&path)?, &numbered_tests(&workspace.root, word)?);
            fs::write(path, written)?;
        }
    }
    check(&workspace)?;
    Ok(ExitCode::SUCCESS)
}

/// Compares the documents with the tests. Returns the number of rows.
pub fn check(workspace: &Workspace) -> Result<u64> {
    REGISTERS.iter().map(|register| register.check(&workspace.root)).sum()
}

impl Register {
    fn check(&self, root: &Path) -> Result<u64> {
        let Self { document: name, word } = self;
        let document = fs::read_to_string(root.join(name))?;
        let tests = numbered_tests(root, word)?;
        let numbers: Vec<u32> = document.lines().filter_map(number).collect();
        for number in &numbers {
            let tests = tests.get(number).map_or_else(|| "NO TEST".to_owned(), |tests| tests.join(", "));
            say(format_args!("{word} {number:>2}  {tests}"));
        }
        let problems = [problems(&numbers, &tests), uneven_rows(&document)].concat();
        if !problems.is_empty() {
            bail!("{name} and the tests disagree: {}", problems.join("; "));
        }
        if with_tests(&document, &tests) != document {
            bail!("the last column of {name} is out of date: run `cargo xtask requirements --write`");
        }
        Ok(numbers.len().try_into()?)
    }
}

fn problems(numbers: &[u32], tests: &Tests) -> Vec<String> {
    let out_of_order = (!numbers.is_sorted_by(|number, next| number < next))
        .then(|| "the numbers of the rows do not increase from row to row".to_owned());
    let untested = numbers
        .iter()
        .filter(|number| !tests.contains_key(number))
        .map(|number| format!("no test has the number {number}"));
    let unknown = tests.iter().filter(|(number, _)| !numbers.contains(number));
    let unknown =
        unknown.map(|(number, tests)| format!("{} has the number {number}, which has no row", tests.join(", ")));
    out_of_order.into_iter().chain(untested).chain(unknown).collect()
}

/// A problem for each numbered row that does not have as many cells as the head of its table.
fn uneven_rows(document: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut head = None;
    for line in document.lines() {
        if !line.starts_with('|') {
            head = None;
            continue;
        }
        let found = line.replace(r"\|", "").matches('|').count() - 1;
        let wanted = *head.get_or_insert(found);
        if let Some(number) = number(line).filter(|_| found != wanted) {
            problems.push(format!("the row {number} has {found} cells, and the head of its table has {wanted}"));
        }
    }
    problems
}

/// The number in the first cell of a row such as `| 15 | … |`.
fn number(line: &str) -> Option<u32> {
    line.strip_prefix("| ")?.split_once(" |")?.0.parse().ok()
}

/// Returns the document with the names of the tests in the last cell of each numbered row.
fn with_tests(document: &str, tests: &Tests) -> String {
    let row = |line: &str| {
        let names = tests.get(&number(line)?)?.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (row, _) = line.strip_suffix(" |")?.rsplit_once(" | ")?;
        Some(format!("{row} | {names} |"))
    };
    document.lines().map(|line| row(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// Finds the tests below `SOURCES` that have a comment with this word and a number.
fn numbered_tests(root: &Path, word: &str) -> Result<Tests> {
    let mut tests = Tests::new();
    for folder in SOURCES {
        collect(root, folder, word, &mut tests)?;
    }
    for names in tests.values_mut() {
        names.sort();
    }
    Ok(tests)
}

/// Reads every source file of a folder, which is relative to `root`.
fn collect(root: &Path, folder: &str, word: &str, tests: &mut Tests) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot read {folder}"))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(root, &path, word, tests)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path())?;
            read(&path, &text, word, tests).with_context(|| path.clone())?;
        }
    }
    Ok(())
}

/// Adds the numbered tests of one source file.
fn read(path: &str, text: &str, word: &str, tests: &mut Tests) -> Result<()> {
    let (one, several) = (format!("// {word} "), format!("// {word}s "));
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(numbers) = line.strip_prefix(&several).or_else(|| line.strip_prefix(&one)) else { continue };
        let mut below = lines.by_ref().take_while(|line| !line.is_empty());
        let function = below
            .find_map(|line| line.split_once("fn ")?.1.split(['(', '<']).next())
            .with_context(|| line.to_owned())?;
        for number in numbers.trim_end_matches('.').split(", ") {
            let number = number.parse().with_context(|| line.to_owned())?;
            tests.entry(number).or_default().push(format!("{path}::{function}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Tests, problems, read, uneven_rows, with_tests};

    fn tests_in(source: &str) -> Tests {
        let mut tests = Tests::new();
        read("tests/file.rs", source, "Requirement", &mut tests).expect("a source");
        tests
    }

    #[test]
    fn a_test_has_the_numbers_of_the_comment_above_it() {
        let source = "// Requirements 1, 3.\n#[test]\nfn one() {}\n\n// Requirement 3.\n#[rstest]\n#[tokio::test]\nasync fn other(a: u8) {}\n";
        let tests = tests_in(source);
        assert_eq!(tests[&1], ["tests/file.rs::one"]);
        assert_eq!(tests[&3], ["tests/file.rs::one", "tests/file.rs::other"]);
        assert!(tests_in("// Fault 1.\nfn one() {}").is_empty());
        assert!(read("tests/file.rs", "// Requirement 1.\n\nfn apart() {}", "Requirement", &mut Tests::new()).is_err());
        assert!(read("tests/file.rs", "// Requirement one.\nfn odd() {}", "Requirement", &mut Tests::new()).is_err());
    }

    #[test]
    fn missing_unknown_and_unordered_numbers_are_problems() {
        let tests = tests_in("// Requirements 1, 2.\nfn one() {}");
        assert!(problems(&[1, 2], &tests).is_empty());
        assert_eq!(problems(&[1, 2, 3], &tests), ["no test has the number 3"]);
        assert_eq!(problems(&[1], &tests), ["tests/file.rs::one has the number 2, which has no row"]);
        assert_eq!(problems(&[2, 1], &tests).len(), 1);
    }

    #[test]
    fn a_row_has_as_many_cells_as_the_head_of_its_table() {
        let document =
            "| no. | rule | tests |\n| --- | --- | --- |\n| 1 | a | b |\n| 2 | a |\n\n| no. |\n| --- |\n| 3 |\n";
        assert_eq!(uneven_rows(document), ["the row 2 has 2 cells, and the head of its table has 3"]);
    }

    #[test]
    fn the_last_column_is_written_from_the_tests() {
        let tests = tests_in("// Requirement 1.\nfn one() {}");
        let document = "| no. | tests |\n| --- | --- |\n| 1 | a `rule` | stale |\n";
        assert_eq!(with_tests(document, &tests), document.replace("stale", "`tests/file.rs::one`"));
    }
}
