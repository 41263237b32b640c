//! Holds the shape of the house: who may depend on whom, and what only one crate may name.
//!
//! The lists at the end of this file are the rules. A new arrow is an edit of them, for others to review.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Goal: no crate depends on one of ours that stands above or beside it.
#[test]
fn our_crates_depend_only_downwards() {
    let forbidden: Vec<String> = dependencies()
        .iter()
        .flat_map(|(package, uses)| forbidden_arrows(package, uses))
        .collect();
    assert!(forbidden.is_empty(), "forbidden arrows: {forbidden:#?}");
}

/// Goal: the table of arrows names every crate of the workspace, so that a new one cannot slip past it.
#[test]
fn every_crate_has_its_arrows_written_down() {
    let unknown: Vec<String> = dependencies()
        .into_keys()
        .filter(|package| package != EMULATOR && arrows_of(package).is_none())
        .collect();
    assert!(unknown.is_empty(), "not in ARROWS: {unknown:?}");
}

/// Goal: an AEAD is named by `cipher` alone and an HTTP client by `vaults` alone, as dependencies.
#[test]
fn ciphers_and_http_clients_have_one_home_each() {
    let dependencies = dependencies();
    let strangers = |names: &[&str], home: &str| -> Vec<String> {
        dependencies
            .iter()
            .filter(|(package, _)| package.as_str() != home && !is_free(package))
            .flat_map(|(package, uses)| {
                uses.iter()
                    .filter(|used| names.contains(&used.as_str()))
                    .map(move |used| format!("{package} -> {used}"))
            })
            .collect()
    };
    assert_eq!(
        strangers(AEAD_CRATES, "cofferdam-cipher"),
        Vec::<String>::new()
    );
    assert_eq!(
        strangers(HTTP_CRATES, "cofferdam-vaults"),
        Vec::<String>::new()
    );
}

/// Goal: the emulator shares nothing with what is tested against it; a mistake made twice in one place proves nothing.
#[test]
fn the_emulator_stands_alone() {
    let dependencies = dependencies();
    let uses = dependencies
        .get(EMULATOR)
        .expect("the emulator is in the workspace");
    let ours: Vec<&String> = uses
        .iter()
        .filter(|used| used.starts_with("cofferdam-"))
        .collect();
    assert!(ours.is_empty(), "{EMULATOR} -> {ours:?}");
    let users: Vec<&String> = dependencies
        .iter()
        .filter(|(package, uses)| !is_free(package) && uses.iter().any(|used| used == EMULATOR))
        .filter(|(package, _)| !arrows_of(package).is_some_and(|to| to.contains(&EMULATOR)))
        .map(|(package, _)| package)
        .collect();
    assert!(users.is_empty(), "{users:?} -> {EMULATOR}");
}

/// Goal: no product source names what its crate must not know.
#[test]
fn sources_name_only_what_their_crate_may_know() {
    let found: Vec<String> = product_sources()
        .iter()
        .flat_map(|(path, text)| violations(path, text))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Goal: the rules bite. Each of them refuses a line written to break it.
#[test]
fn each_rule_refuses_what_it_forbids() {
    for (path, line) in [
        (
            "crates/audit/src/log.rs",
            "let now = std::time::SystemTime::now();",
        ),
        ("crates/keys/src/lease.rs", "let now = Instant::now();"),
        (
            "crates/vaults/src/vaults.rs",
            "let token = std::env::var(\"TOKEN\");",
        ),
        (
            "crates/keys/src/keyring.rs",
            "use aws_lc_rs::aead::AES_256_GCM;",
        ),
        (
            "crates/sealed-file/src/file.rs",
            "use aws_lc_rs::{aead, hmac};",
        ),
        (
            "crates/sealed-file/src/file.rs",
            "unsafe { libc::pread(fd, p, n, 0) };",
        ),
        ("crates/cipher/src/page.rs", "#[unsafe(no_mangle)]"),
        (
            "crates/sqlite/src/group.rs",
            "unsafe extern \"C\" fn open() {}",
        ),
        (
            "crates/cli/src/main.rs",
            "let reply = ureq::get(url).call();",
        ),
    ] {
        assert_eq!(violations(path, line).len(), 1, "{path}: {line}");
    }
    assert_eq!(
        forbidden_arrows("cofferdam-keys", &["cofferdam-cipher".to_owned()]).len(),
        1
    );
    assert_eq!(
        forbidden_arrows("cofferdam-cli", &["cofferdam-cipher".to_owned()]).len(),
        0
    );
}

/// Goal: words in comments and code that only tests compile are no violations.
#[test]
fn comments_and_test_code_are_free() {
    let text = "//! unsafe\nfn f() {} // SystemTime::now is not called\n#[cfg(test)]\nmod tests {\n Instant::now();\n}\n";
    assert_eq!(
        violations("crates/audit/src/log.rs", text),
        Vec::<String>::new()
    );
    let before = "#[cfg(test)]\nmod vectors;\nfn f() { std::env::var_os(\"X\"); }\n";
    assert_eq!(violations("crates/audit/src/log.rs", before).len(), 1);
}

/// What in `text`, a source of the product at `path`, its crate must not name.
fn violations(path: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let mut found = Vec::new();
    for (what, words, homes) in RULES {
        if homes.iter().any(|home| path.starts_with(home)) {
            continue;
        }
        for (number, line) in code.iter().enumerate() {
            if words.iter().any(|word| names(line, word)) {
                found.push(format!("{path}:{}: {what}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

/// The lines of `text` without comments and without the test module at its end; line numbers stay.
fn code_of(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let end = (0..lines.len())
        .find(|&index| {
            lines[index] == "#[cfg(test)]"
                && lines
                    .get(index + 1)
                    .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        })
        .unwrap_or(lines.len());
    lines[..end]
        .iter()
        .map(|line| line.split("//").next().unwrap_or(""))
        .collect()
}

/// Whether `line` holds `word` as a whole path or identifier, not as a part of a longer one.
fn names(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && (word.ends_with("::") || !after.is_some_and(part))
    })
}

/// Every source of the product that is compiled without `cfg(test)`, by its path from the root.
fn product_sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    collect(&root().join("crates"), &mut sources);
    assert!(sources.len() > 10, "the sources are not where they were");
    let tests: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    sources.retain(|(path, _)| {
        !tests
            .iter()
            .any(|test| path == &format!("{test}.rs") || path.starts_with(&format!("{test}/")))
    });
    sources
}

/// The modules, as paths without `.rs`, that `text` declares for tests only.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = match path
        .strip_suffix("/lib.rs")
        .or(path.strip_suffix("/main.rs"))
        .or(path.strip_suffix("/mod.rs"))
    {
        Some(folder) => folder,
        None => path.strip_suffix(".rs").unwrap_or(path),
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].trim() == "#[cfg(test)]")
        .filter_map(|pair| pair[1].trim().strip_prefix("mod ")?.strip_suffix(';'))
        .map(|module| format!("{folder}/{module}"))
        .collect()
}

fn collect(folder: &Path, sources: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the crates are readable") {
        let path = entry.expect("the crates are readable").path();
        let tests = path.ends_with("tests") || path.ends_with("examples");
        if path.is_dir() && !tests {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let shown = path
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string();
            sources.push((shown, fs::read_to_string(&path).expect("a source is UTF-8")));
        }
    }
}

/// The arrows of `package` to crates of ours that ARROWS does not allow.
fn forbidden_arrows(package: &str, uses: &[String]) -> Vec<String> {
    let Some(allowed) = arrows_of(package) else {
        return Vec::new();
    };
    uses.iter()
        .filter_map(|used| used.strip_prefix("cofferdam-"))
        .filter(|used| !allowed.contains(used) && !allowed.contains(&EVERYTHING))
        .map(|used| format!("{package} -> cofferdam-{used}"))
        .collect()
}

fn arrows_of(package: &str) -> Option<&'static [&'static str]> {
    let short = package.strip_prefix("cofferdam-").unwrap_or(package);
    ARROWS
        .iter()
        .find(|(from, _)| *from == short)
        .map(|(_, to)| *to)
}

/// Whether a package exists to use everything, tests and benches, or is no part of the product, the emulator.
fn is_free(package: &str) -> bool {
    matches!(package, "cofferdam-tests" | "cofferdam-benches") || package == EMULATOR
}

/// Each package of the workspace with what it depends on outside of its tests, for every target and feature.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args([
            "tree",
            "--workspace",
            "--all-features",
            "--target",
            "all",
            "--no-dedupe",
        ])
        .args([
            "--depth",
            "1",
            "--edges",
            "normal,build",
            "--prefix",
            "depth",
        ])
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let name = line
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .split(' ')
            .next()
            .unwrap_or("")
            .to_owned();
        match line.chars().next() {
            Some('0') => {
                current.clone_from(&name);
                packages.entry(name).or_default();
            }
            Some('1') => packages.entry(current.clone()).or_default().push(name),
            _ => {}
        }
    }
    packages
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the root")
        .to_owned()
}

const EVERYTHING: &str = "*";
/// Azure's vault for tests.
const EMULATOR: &str = "keyvault-mock";

/// Who may depend on whom, by the names of the directories.
const ARROWS: &[(&str, &[&str])] = &[
    ("audit", &[]),
    ("keys", &["audit"]),
    ("vaults", &["keys", "audit"]),
    ("cipher", &["keys", "audit"]),
    ("sealed-file", &["cipher", "keys", "audit"]),
    ("sqlite", &["sealed-file", "cipher", "keys"]),
    ("redb", &["sealed-file"]),
    // What cli and the extension share: environment, clock, vaults, audit.
    ("wiring", &["sealed-file", "vaults", "keys", "audit"]),
    ("sqlite-extension", &["sqlite", "wiring"]),
    // The demonstration's vaults are the emulator's; nothing else of the product may know it.
    ("cli", &[EVERYTHING, EMULATOR]),
    // An Azure Key Vault for tests: a mistake made on both sides would prove nothing.
    ("keyvault-mock", &[]),
    ("tests", &[EVERYTHING]),
    ("benches", &[EVERYTHING]),
];

const AEAD_CRATES: &[&str] = &[
    "aegis",
    "aes-gcm",
    "aes-gcm-siv",
    "aes-siv",
    "aead",
    "ascon-aead",
    "chacha20poly1305",
    "ring",
    "xsalsa20poly1305",
];

const HTTP_CRATES: &[&str] = &[
    "attohttpc",
    "curl",
    "hyper",
    "isahc",
    "minreq",
    "reqwest",
    "surf",
    "tiny_http",
    "ureq",
];

/// What is forbidden, the words that show it, and the paths where it is at home.
const RULES: &[(&str, &[&str], &[&str])] = &[
    (
        "only cipher names an AEAD",
        &[
            "aws_lc_rs::aead",
            "aead",
            "aegis::",
            "aes_gcm::",
            "chacha20poly1305::",
        ],
        &["crates/cipher/"],
    ),
    (
        "only vaults names an HTTP client",
        &["ureq::", "reqwest::", "hyper::", "attohttpc::"],
        &["crates/vaults/"],
    ),
    (
        "only cli and wiring read clock and environment",
        &[
            "SystemTime::now",
            "Instant::now",
            "UNIX_EPOCH.elapsed",
            "clock_gettime",
            "gettimeofday",
            "env::var",
            "env::var_os",
            "env::vars",
            "env::vars_os",
            "env::args",
            "env::args_os",
            "env::current_dir",
            "env::temp_dir",
            "getenv",
        ],
        &["crates/cli/", "crates/wiring/"],
    ),
    (
        "unsafe stands only in the files listed here",
        &["unsafe"],
        &[
            // Locked, non-dumpable memory for keys.
            "crates/keys/src/arena.rs",
            // What a fork must not inherit.
            "crates/cipher/src/fork.rs",
            // SQLite's C interface: what SQLite calls, and what is called in SQLite and the VFS below.
            "crates/sqlite/src/base.rs",
            "crates/sqlite/src/control.rs",
            "crates/sqlite/src/fence.rs",
            "crates/sqlite/src/ffi.rs",
            "crates/sqlite/src/function.rs",
            "crates/sqlite/src/layer.rs",
            "crates/sqlite/src/methods.rs",
            "crates/sqlite/src/vfs.rs",
            // The entry point that SQLite looks up by name.
            "crates/sqlite-extension/src/lib.rs",
        ],
    ),
];
