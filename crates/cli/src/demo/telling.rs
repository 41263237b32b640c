//! How the story is told: numbered steps, what was checked, what it means.

use std::time::Instant;

use super::stage::Stage;
use crate::terminal;

/// The teller, who counts.
pub(super) struct Telling {
    started: Instant,
    step_started: Instant,
    steps: u32,
    passed: u32,
    failed: u32,
    colours: bool,
}

impl Telling {
    pub(super) fn begin() -> Telling {
        let telling = Telling {
            started: Instant::now(),
            step_started: Instant::now(),
            steps: 0,
            passed: 0,
            failed: 0,
            colours: terminal::has_colours(),
        };
        println!(
            "{}",
            telling.bold("Cofferdam: two walls between a database and its disk")
        );
        telling
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) {
        self.steps += 1;
        self.step_started = Instant::now();
        println!("\n{:>2}  {}", self.steps, self.bold(title));
    }

    /// One checked fact.
    pub(super) fn check(&mut self, holds: bool, fact: &str) {
        let mark = if holds {
            self.passed += 1;
            self.paint("ok    ", "32")
        } else {
            self.failed += 1;
            self.paint("FAILED", "31;1")
        };
        let mut lines = fact.lines();
        println!("    {mark}  {}", lines.next().unwrap_or_default());
        lines.for_each(|line| println!("            {line}"));
    }

    /// Something to look at.
    pub(super) fn show(&self, line: &str) {
        for line in line.lines() {
            println!("            {}", self.paint(line, "2"));
        }
    }

    /// What the step means for whoever watches. It ends the step.
    pub(super) fn meaning(&self, text: &str) {
        let seconds = self.step_started.elapsed().as_secs_f64();
        println!(
            "        =>  {text}  {}",
            self.paint(&format!("[{seconds:.2} s]"), "2")
        );
    }

    /// What to do next.
    pub(super) fn end(&self, stage: &Stage, keep: bool) {
        let seconds = self.started.elapsed().as_secs_f64();
        println!(
            "\n{}",
            self.bold(&format!(
                "Done in {seconds:.1} s. Next, on a database of your own:"
            ))
        );
        println!("    cofferdam key create file:customer.key");
        println!("    cofferdam sqlite seal YOURS.db YOURS.sealed --customer file:customer.key");
        println!(
            "or, with a key in Azure, --customer https://VAULT.vault.azure.net/keys/KEY (docs/azure.md)"
        );
        if keep {
            println!(
                "The files from above are in {}. Their keys were the emulator's and are gone with it: nothing opens them any more.",
                stage.dir().display()
            );
        }
    }

    /// The last line; whether all is as promised.
    pub(super) fn conclude(&self) -> bool {
        if self.failed > 0 {
            println!(
                "demo: {} checks passed, {} failed",
                self.passed, self.failed
            );
        } else {
            println!("demo: {} checks passed", self.passed);
        }
        self.failed == 0
    }

    fn bold(&self, text: &str) -> String {
        self.paint(text, "1")
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
