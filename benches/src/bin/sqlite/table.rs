//! The tables and the verdicts.

use crate::Costs;
use crate::contender::Cost;
use crate::workload::Phase;

/// Prints the ratios of every contender to its baseline, and whether the targets are met.
pub(crate) fn print(names: &[String], baselines: &[usize], all: &[(Phase, Costs)], journal: &str) {
    print!("{:<32}{:>12}", "phase", "plain ms");
    for (index, name) in names
        .iter()
        .enumerate()
        .filter(|(index, _)| baselines[*index] != *index)
    {
        let _ = index;
        print!("{name:>15}");
    }
    println!();
    for (phase, costs) in all {
        let plain = median(costs.iter().map(|round| what_counts(phase, &round[0])));
        print!("{:<32}{:>12.1}", phase.name, plain / 1e6);
        for index in (0..names.len()).filter(|index| baselines[*index] != *index) {
            print!("{:>15.2}", ratio(phase, costs, index, baselines[index]));
        }
        println!();
    }
    verdicts(names, baselines, all, journal);
}

fn verdicts(names: &[String], baselines: &[usize], all: &[(Phase, Costs)], journal: &str) {
    let of = |phase: &str, name: &str| {
        let index = names.iter().position(|other| other == name)?;
        let (phase, costs) = all.iter().find(|(other, _)| other.name == phase)?;
        Some(ratio(phase, costs, index, baselines[index]))
    };
    let verdict = |value: f64, target: f64| if value <= target { "met" } else { "MISSED" };
    println!("targets, journal {journal}");
    for (name, target) in [("suite 1", 1.15), ("suite 3", 1.30), ("suite 2", 2.0)] {
        if let Some(value) = of("mix", name) {
            println!(
                "  mix, {name}: {value:.3}, at most {target:.2}: {}",
                verdict(value, target)
            );
        }
        if let Some(value) = of(SYNCED, name) {
            println!(
                "  {SYNCED}, {name}: {value:.3}, at most 1.05 on a real disk: {}",
                verdict(value, 1.05)
            );
        }
    }
    for (name, peer) in [("suite 1", "mc aegis256x4"), ("suite 2", "mc chacha20")] {
        let mut slower = Vec::new();
        let mut known = false;
        for (phase, _) in all.iter().filter(|(phase, _)| !phase.clock) {
            if let (Some(ours), Some(theirs)) = (of(phase.name, name), of(phase.name, peer)) {
                known = true;
                if ours > theirs {
                    slower.push(format!("{} ({ours:.2} to {theirs:.2})", phase.name));
                }
            }
        }
        if known && slower.is_empty() {
            println!("  {name} never slower than {peer}: met");
        } else if known {
            println!(
                "  {name} never slower than {peer}: MISSED in {}",
                slower.join(", ")
            );
        }
    }
    if let (Some(ours), Some(theirs)) = (of("mix", "suite 1"), of("mix", "sqlcipher")) {
        let times = (theirs - 1.0) / (ours - 1.0);
        println!(
            "  mix: sqlcipher {theirs:.2}, suite 1 {ours:.2}; sqlcipher adds {times:.1} times as much"
        );
    }
}

/// The median over the rounds of what a contender costs, compared with its baseline.
fn ratio(phase: &Phase, costs: &Costs, index: usize, baseline: usize) -> f64 {
    median(
        costs
            .iter()
            .map(|round| what_counts(phase, &round[index]) / what_counts(phase, &round[baseline])),
    )
}

fn what_counts(phase: &Phase, cost: &Cost) -> f64 {
    if phase.clock { cost.wall } else { cost.cpu }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

const SYNCED: &str = "small commits, synced (clock)";
