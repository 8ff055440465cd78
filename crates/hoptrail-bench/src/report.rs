//! What was measured, as text, Markdown and JSON.

use crate::host::Machine;
use crate::rounds::{Goal, Series, Unit, median};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) part: &'static str,
    pub(crate) name: String,
    pub(crate) goal: Goal,
    pub(crate) unit: Unit,
    /// Median over the rounds; not a number where the ratio is of ratios.
    pub(crate) plain: f64,
    /// Likewise.
    pub(crate) value: f64,
    /// To plain, round by round; none where there is nothing to compare with.
    pub(crate) ratios: Vec<f64>,
    /// Why there are no figures, or not the ones that were asked for.
    pub(crate) remark: Option<String>,
}

/// One program in one operation.
pub(crate) struct Program {
    pub(crate) operation: &'static str,
    pub(crate) program: String,
    /// Per operation.
    pub(crate) runs: f64,
    /// Per run.
    pub(crate) nanoseconds: f64,
}

/// What became of one promise.
pub(crate) struct Kept {
    pub(crate) kept: bool,
    /// In words.
    seen: String,
}

/// What TCP promises, and by what it was kept.
#[derive(Default)]
struct Promises {
    names: Vec<&'static str>,
    by: Vec<(&'static str, Vec<Kept>)>,
}

pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    rows: Vec<Row>,
    programs: Vec<Program>,
    promises: Promises,
    notes: Vec<String>,
}

impl From<crate::Result<(bool, String)>> for Kept {
    fn from(tried: crate::Result<(bool, String)>) -> Self {
        let (kept, seen) = tried.unwrap_or_else(|e| (false, e.to_string()));
        Self { kept, seen }
    }
}

impl Row {
    /// The median of the ratios.
    fn ratio(&self) -> f64 {
        median(&mut self.ratios.clone())
    }

    fn range(&self) -> (f64, f64) {
        let least = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// Nothing when there is no goal.
    fn met(&self) -> Option<bool> {
        if self.remark.is_some() {
            return None;
        }
        match self.goal {
            Goal::AtMost(most) => Some(self.ratio() <= most),
            Goal::AtLeast(least) => Some(self.ratio() >= least),
            Goal::ValueAtMost(most) => Some(self.value <= most),
            Goal::ValueAtLeast(least) => Some(self.value >= least),
            Goal::AtMostPlus { ratio, nanoseconds } => {
                Some(self.ratio() <= ratio + nanoseconds / self.plain)
            }
            Goal::Nothing => None,
        }
    }

    fn verdict(&self) -> String {
        match (&self.remark, self.met()) {
            (Some(remark), _) => remark.clone(),
            (None, Some(true)) => "met".to_owned(),
            (None, Some(false)) => "missed".to_owned(),
            (None, None) => String::new(),
        }
    }

    /// Cells of the table.
    fn cells(&self) -> [String; 8] {
        let (low, high) = self.range();
        // Plain does nothing there but read the clock: a ratio to that says nothing.
        let empty = self.ratios.is_empty() || self.unit == Unit::Nanoseconds && self.plain < 100.0;
        let unless_empty = |text: String| if empty { String::new() } else { text };
        [
            self.part.to_owned(),
            self.name.clone(),
            self.goal.text(self.unit),
            unless_empty(format!("{:.3}", self.ratio())),
            unless_empty(format!("{low:.2} to {high:.2}")),
            self.unit.text(self.plain),
            self.unit.text(self.value),
            self.verdict(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "part": self.part,
            "measure": self.name,
            "goal": self.goal.text(self.unit),
            "ratio": self.ratio(),
            "ratios": self.ratios,
            "unit": self.unit.name(),
            "plain": self.plain,
            "value": self.value,
            "met": self.met(),
            "remark": self.remark,
        })
    }
}

impl Goal {
    fn text(self, unit: Unit) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most:.2}"),
            Self::AtLeast(least) => format!("≥ {least:.2}"),
            Self::ValueAtMost(most) => format!("≤ {}", unit.text(most)),
            Self::ValueAtLeast(least) => format!("≥ {}", unit.text(least)),
            Self::AtMostPlus { ratio, nanoseconds } => {
                format!("≤ {ratio:.2} + {nanoseconds:.0} ns")
            }
            Self::Nothing => String::new(),
        }
    }
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::PerSecond => "1/s",
            Self::Bytes => "B/s",
            Self::SecondsPerGb => "s/GB",
            Self::Memory => "B",
            Self::Count => "count",
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => String::new(),
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Bytes => format!("{:.2} GB/s", value / 1e9),
            Self::SecondsPerGb => format!("{value:.3} s/GB"),
            Self::Memory => format!("{value:.0} B"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

impl Program {
    fn cells(&self) -> [String; 4] {
        let (runs, time) = (format!("{:.2}", self.runs), format!("{:.0}", self.nanoseconds));
        [self.operation.to_owned(), self.program.clone(), runs, time]
    }

    fn json(&self) -> Value {
        json!({
            "operation": self.operation,
            "program": self.program,
            "runs_per_operation": self.runs,
            "ns_per_run": self.nanoseconds,
        })
    }
}

const ROWS: [&str; 8] = ["", "measure", "goal", "ratio", "rounds", "plain", "measured", ""];
const PROGRAMS: [&str; 4] = ["operation", "program", "runs per operation", "ns per run"];

impl Report {
    pub(crate) fn new(machine: Machine, rounds: usize) -> Self {
        let (rows, programs, promises, notes) = Default::default();
        Self { machine, rounds, rows, programs, promises, notes }
    }

    pub(crate) fn add<'a>(&mut self, series: impl IntoIterator<Item = Series<'a>>) {
        self.rows.extend(series.into_iter().flat_map(Series::rows));
    }

    pub(crate) fn add_rows(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    pub(crate) fn programs(&mut self, programs: Vec<Program>) {
        self.programs.extend(programs);
    }

    /// What is promised: the columns of [`Report::kept`].
    pub(crate) fn promises(&mut self, names: &[&'static str]) {
        self.promises.names = names.to_vec();
    }

    pub(crate) fn kept(&mut self, by: &'static str, kept: Vec<Kept>) {
        self.promises.by.push((by, kept));
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        for table in self.tables() {
            text.push('\n');
            columns(&mut text, &table);
        }
        for note in self.all_notes() {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n", self.headline());
        for table in self.tables() {
            text.push('\n');
            for (i, cells) in table.iter().enumerate() {
                let _ = writeln!(text, "| {} |", cells.join(" | "));
                if i == 0 {
                    let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
                }
            }
        }
        for note in self.all_notes() {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "rounds": self.rounds,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "programs": self.programs.iter().map(Program::json).collect::<Vec<_>>(),
            "promises": self.promises.json(),
            "notes": self.notes,
        })
    }

    fn headline(&self) -> String {
        let Machine { kernel, cpu, cores, congestion_control, load } = &self.machine;
        format!(
            "Linux {kernel}, {cpu}, {cores} CPUs, TCP congestion control {congestion_control}, load {load} at the \
             beginning; medians of {} rounds.",
            self.rounds
        )
    }

    /// Those that have something in them.
    fn tables(&self) -> impl Iterator<Item = Vec<Vec<String>>> {
        let tables = [self.row_cells(), self.promises.cells(), self.program_cells()];
        tables.into_iter().filter(|table| table.len() > 1)
    }

    /// With what was seen where a promise was broken.
    fn all_notes(&self) -> impl Iterator<Item = String> {
        self.promises.broken().chain(self.notes.iter().cloned())
    }

    fn row_cells(&self) -> Vec<Vec<String>> {
        let head = ROWS.map(str::to_owned).to_vec();
        [head].into_iter().chain(self.rows.iter().map(|row| row.cells().to_vec())).collect()
    }

    fn program_cells(&self) -> Vec<Vec<String>> {
        let head = PROGRAMS.map(str::to_owned).to_vec();
        [head].into_iter().chain(self.programs.iter().map(|p| p.cells().to_vec())).collect()
    }
}

impl Promises {
    fn cells(&self) -> Vec<Vec<String>> {
        let names = self.names.iter().map(ToString::to_string);
        let head = [String::new()].into_iter().chain(names).collect();
        let line = |(by, kept): &(&str, Vec<Kept>)| {
            let cells = kept.iter().map(|kept| if kept.kept { "yes" } else { "no" }.to_owned());
            [(*by).to_owned()].into_iter().chain(cells).collect()
        };
        [head].into_iter().chain(self.by.iter().map(line)).collect()
    }

    fn broken(&self) -> impl Iterator<Item = String> {
        self.each()
            .filter(|(_, _, kept)| !kept.kept)
            .map(|(by, name, kept)| format!("{name}, {by}: {}.", kept.seen))
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, &Kept)> {
        let lines = self.by.iter();
        lines.flat_map(|(by, kept)| {
            self.names.iter().zip(kept).map(|(name, kept)| (*by, *name, kept))
        })
    }

    fn json(&self) -> Value {
        let each = self.each().map(|(by, promise, Kept { kept, seen })| {
            json!({ "by": by, "promise": promise, "kept": kept, "seen": seen })
        });
        each.collect()
    }
}

/// Aligned with spaces.
fn columns(text: &mut String, table: &[Vec<String>]) {
    let width = |column: usize| {
        table.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    for cells in table {
        let line: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal, ratios: &[f64]) -> Row {
        let (unit, ratios) = (Unit::Nanoseconds, ratios.to_vec());
        let remark = None;
        Row {
            part: "P1",
            name: "a".into(),
            goal,
            unit,
            plain: 1000.0,
            value: 1040.0,
            ratios,
            remark,
        }
    }

    #[test]
    fn the_median_counts_against_the_goal() {
        assert_eq!(row(Goal::AtMost(1.05), &[1.2, 1.04, 1.03]).met(), Some(true));
        assert_eq!(row(Goal::AtMost(1.05), &[1.2, 1.06, 1.03]).met(), Some(false));
        assert_eq!(row(Goal::AtLeast(0.99), &[0.98]).met(), Some(false));
        assert_eq!(row(Goal::Nothing, &[9.0]).met(), None);
        // Plain is 1000 ns.
        let more = Goal::AtMostPlus { ratio: 1.05, nanoseconds: 100.0 };
        assert_eq!(row(more, &[1.15]).met(), Some(true));
        assert_eq!(row(more, &[1.16]).met(), Some(false));
    }

    #[test]
    fn markdown_has_as_many_cells_as_its_head() {
        let machine = Machine {
            kernel: "6.18".into(),
            cpu: "x".into(),
            cores: 2,
            congestion_control: "bbr".into(),
            load: "0.1".into(),
        };
        let mut report = Report::new(machine, 1);
        report.add_rows(vec![row(Goal::AtMost(1.05), &[1.01])]);
        let text = report.markdown();
        let pipes = |line: &str| line.matches('|').count();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| pipes(line) == ROWS.len() + 1), "{text}");
        assert!(lines[2].contains("1.010") && lines[2].contains("met"), "{text}");
    }
}
