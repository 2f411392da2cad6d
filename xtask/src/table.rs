//! Tables in Markdown whose columns are also aligned on a terminal.

use std::fmt;

/// Writes a table with this head. Each row has as many cells as the head.
pub fn write<const N: usize>(f: &mut impl fmt::Write, head: [&str; N], rows: &[[String; N]]) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str()).chain([head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = std::array::from_fn(width);
    write_row(f, head, widths)?;
    write_row(f, head.map(|_| "---"), widths)?;
    rows.iter().try_for_each(|row| write_row(f, row.each_ref().map(String::as_str), widths))
}

fn write_row<const N: usize>(f: &mut impl fmt::Write, cells: [&str; N], widths: [usize; N]) -> fmt::Result {
    for (cell, width) in cells.iter().zip(widths) {
        write!(f, "| {cell:<width$} ")?;
    }
    writeln!(f, "|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_as_wide_as_its_widest_cell() {
        let mut table = String::new();
        write(&mut table, ["a", "size"], &[["×××××".into(), "1".into()], ["x".into(), String::new()]]).unwrap();
        assert_eq!(table, "| a     | size |\n| ---   | ---  |\n| ××××× | 1    |\n| x     |      |\n");
    }
}
