//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Two walls between a database and the disk it rests on.
#[derive(Parser)]
#[command(name = "cofferdam", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command. They override the environment.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// The customer's key: file:PATH or https://HOST/keys/NAME. Existing databases must be under it. In Azure, a /VERSION at the
    /// end is the one that wraps, whatever newer ones there are
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) customer: Option<String>,
    /// The infrastructure's key, in the same forms. With it, new databases have two layers
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) infrastructure: Option<String>,
    /// A directory below which audit logs are, or `none`; without it they lie beside each database
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) audit: Option<String>,
    /// For keys of RSA: the pin that was noted when the database was sealed, several with commas between, or `none` to trust the disk
    #[arg(long, global = true, value_name = "PIN")]
    pub(crate) pin: Option<String>,
    /// Ask for passphrases on the terminal
    #[arg(long, global = true)]
    pub(crate) passphrase: bool,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// The whole story on real data, from nothing, in a temporary directory
    Demo(Demo),
    /// Keys in files: what a key custodian does
    #[command(subcommand)]
    Key(Key),
    /// SQLite databases
    #[command(subcommand)]
    Sqlite(Sqlite),
    /// Make a volume: a directory of sealed files, for databases other than SQLite
    ///
    /// Power cuts lose nothing in it that was synced, and tear no page.
    Init(Init),
    /// Layers, keys, versions, state and last events of a sealed database or a volume
    Status(Store),
    /// Put newer keys into use
    #[command(subcommand)]
    Rotate(Rotate),
    /// Data keys
    #[command(subcommand)]
    Keys(Keys),
    /// Accept an old copy that was put back on purpose
    Restore(Restore),
    /// The record of what happened to keys
    #[command(subcommand)]
    Audit(Audit),
    /// Open every page of a sealed database or a volume, and name those that do not open
    Scrub(Scrub),
    /// Put a store under another key, or into another vault; no page is touched
    ///
    /// The keys named by --customer and --infrastructure are the new ones. The old ones must still be usable; afterwards only older copies
    /// of the store need them.
    Rekey(Store),
    /// Ask the vaults now whether the store may be opened, and put it on record
    ///
    /// A database that is fenced in a running program opens again by itself at the next access; this only tells whether it would.
    Revalidate(Store),
    /// Hold a revocation drill: take the keys away from a reader of this program's own, and measure how it stops and comes back
    ///
    /// Nothing is changed but the audit log, which gets the result. Programs that use the database are not disturbed.
    Drill(Store),
    /// Look for what will go wrong: a key's dates, strength, protection against deletion, permissions, clocks, logs
    Doctor(Doctor),
}

/// `demo`
#[derive(Args)]
pub(crate) struct Demo {
    /// A SQLite database of your own, instead of the time zones; it is only read
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Keep the directory
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `key …`
#[derive(Subcommand)]
pub(crate) enum Key {
    /// Make a new key
    Create(KeyName),
    /// List its versions
    Versions(KeyName),
    /// Add a version, which wraps from then on
    Rotate(KeyName),
    /// Disable the key, or one version of it: what it protects cannot be opened
    ///
    /// With --stores, what would stop is shown first, and nothing is done while something would, unless --yes is given.
    Disable(KeyDisable),
    /// Enable the key, or one version of it
    Enable(KeySwitch),
}

/// One key.
#[derive(Args)]
pub(crate) struct KeyName {
    /// file:PATH
    pub(crate) key: String,
}

/// `key disable`
#[derive(Args)]
pub(crate) struct KeyDisable {
    /// What to disable.
    #[command(flatten)]
    pub(crate) switch: KeySwitch,
    /// Sealed databases to look into first
    #[arg(long, value_name = "STORE", num_args = 1..)]
    pub(crate) stores: Vec<PathBuf>,
    /// Yes, also when something stops
    #[arg(long)]
    pub(crate) yes: bool,
}

/// One key, or a version of it.
#[derive(Args)]
pub(crate) struct KeySwitch {
    /// file:PATH
    pub(crate) key: String,
    /// One version only
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<String>,
}

/// `sqlite …`
#[derive(Subcommand)]
pub(crate) enum Sqlite {
    /// Make a sealed copy of a plain database
    ///
    /// The source is only read, also while applications write to it. The copy gets its name when it is complete, durable and
    /// was read back; its audit log is in DST-audit.
    Seal(Seal),
    /// Make a plain copy of a sealed database
    ///
    /// The copy is readable by its owner alone and gets its name when it is complete, durable and was read back. That it was
    /// made is in the audit log, as backup.created, before it gets its name.
    Unseal(Unseal),
    /// Make a sealed copy of a sealed database, with other keys, layers or another suite
    ///
    /// The copy has data keys of its own, and the keys, layers and suite that are given now, as at the first sealing: with
    /// --infrastructure it gets a second layer, without it has one. Nothing is written in the open. The copy gets its name when it is complete, durable and was read back; that it was made is in the source's audit
    /// log, as backup.created, before.
    Reseal(Seal),
    /// Ask a sealed database in SQL
    Shell(Shell),
}

/// `sqlite seal` and `sqlite reseal`
#[derive(Args)]
pub(crate) struct Seal {
    /// The database
    pub(crate) source: PathBuf,
    /// The sealed copy, which must not exist
    pub(crate) target: PathBuf,
    /// 1: AES-256-GCM; 2: within ChaCha20-Poly1305; 3: within AEGIS-256X2. Default: 1, or 2 with an infrastructure key
    #[arg(long, value_name = "N")]
    pub(crate) suite: Option<String>,
    /// Bytes of a sealed page, at most the database's. Default: the database's, at most 16384
    #[arg(long, value_name = "BYTES")]
    pub(crate) page_size: Option<usize>,
}

/// `sqlite unseal`
#[derive(Args)]
pub(crate) struct Unseal {
    /// The sealed database
    pub(crate) source: PathBuf,
    /// The plain copy, which must not exist
    pub(crate) target: PathBuf,
    /// Do not ask: yes, write the contents in the open
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `sqlite shell`
#[derive(Args)]
pub(crate) struct Shell {
    /// The sealed database; it is made if it does not exist and a customer key is given
    pub(crate) database: PathBuf,
    /// What to ask; without it, questions come from the standard input
    pub(crate) sql: Option<String>,
}

/// `init`
#[derive(Args)]
pub(crate) struct Init {
    /// The directory, which must be empty or not exist
    pub(crate) volume: PathBuf,
    /// 1: AES-256-GCM; 2: within ChaCha20-Poly1305; 3: within AEGIS-256X2. Default: 1, or 2 with an infrastructure key
    #[arg(long, value_name = "N")]
    pub(crate) suite: Option<String>,
    /// Bytes of a sealed page, at least 4096. PostgreSQL wants 8192
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    pub(crate) page_size: usize,
}

/// `doctor`
#[derive(Args)]
pub(crate) struct Doctor {
    /// A sealed database, or a key's name
    #[arg(value_name = "STORE|KEY")]
    pub(crate) subject: String,
}

/// A command on one store.
#[derive(Args)]
pub(crate) struct Store {
    /// A sealed database; for `status` also a volume
    pub(crate) store: PathBuf,
}

/// `rotate …`
#[derive(Subcommand)]
pub(crate) enum Rotate {
    /// Wrap the store's roots under the newest version of their keys; no page is touched
    Kek(RotateKek),
}

/// `rotate kek`
#[derive(Args)]
pub(crate) struct RotateKek {
    /// A sealed database; applications may go on using it
    pub(crate) store: PathBuf,
    /// Which wall
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) layer: LayerChoice,
}

/// Which layers a command is about.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum LayerChoice {
    /// The customer's
    Customer,
    /// The infrastructure's
    Infrastructure,
    /// Both
    All,
}

/// `keys …`
#[derive(Subcommand)]
pub(crate) enum Keys {
    /// Every data key with its state and dates
    List(Store),
}

/// `restore`
#[derive(Args)]
pub(crate) struct Restore {
    /// A sealed database that was put back from a backup
    pub(crate) store: PathBuf,
    /// Yes, this old copy is the valid one from now on
    #[arg(long, required = true)]
    pub(crate) accept_rollback: bool,
    /// Leave the roots wrapped as they were. Without it they are wrapped under the newest versions of their keys, so that the old versions
    /// can be disabled
    #[arg(long)]
    pub(crate) keep_wraps: bool,
}

/// `audit …`
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Show events
    Show(AuditShow),
    /// Check every byte of a log
    Verify(AuditVerify),
    /// Prove to others that an event is in the log, or check such a proof
    Prove(AuditProve),
    /// Write events for another system, in its own words
    ///
    /// The whole log is checked first. An export to a file gets its name when it is complete and durable. That it was made is recorded as
    /// audit.export when LOG is a sealed database or a key file; somebody who has the directory and its public key alone can record nothing.
    Export(AuditExport),
    /// Compare with the vault's own log: who used our keys?
    ///
    /// Lists wraps and unwraps in the vault's log that we did not make, ours that it does not have, and those of which one
    /// side says that they failed. Exits with 5 if there are any.
    Reconcile(AuditReconcile),
}

/// Which log, and whose word is taken for its key.
#[derive(Args)]
pub(crate) struct Log {
    /// A log's directory, a sealed database or a key file
    pub(crate) log: PathBuf,
    /// The log's public key as you know it. Without it, it comes from the unlocked database or key file, and for a mere
    /// directory from the log itself, which proves nothing about who wrote it
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) vkey: Option<String>,
}

/// `audit show`
#[derive(Args)]
pub(crate) struct AuditShow {
    /// The log.
    #[command(flatten)]
    pub(crate) log: Log,
    /// Only this action, such as key.rotate
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only events about this key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only events from then on: 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only the last N
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// `audit verify`
#[derive(Args)]
pub(crate) struct AuditVerify {
    /// The log.
    #[command(flatten)]
    pub(crate) log: Log,
    /// A checkpoint that was kept from an earlier time; without one, an old state of the whole directory goes unnoticed
    #[arg(long, value_name = "FILE")]
    pub(crate) remembered: Option<PathBuf>,
}

/// `audit prove`
#[derive(Args)]
pub(crate) struct AuditProve {
    /// A log's directory, a sealed database or a key file
    #[arg(required_unless_present = "check")]
    pub(crate) log: Option<PathBuf>,
    /// The event's number
    #[arg(required_unless_present = "check")]
    pub(crate) index: Option<u64>,
    /// Check a proof that this command has written
    #[arg(long, value_name = "FILE", conflicts_with_all = ["log", "index"], requires = "vkey")]
    pub(crate) check: Option<PathBuf>,
    /// The log's public key as you know it
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) vkey: Option<String>,
}

/// `audit export`
#[derive(Args)]
pub(crate) struct AuditExport {
    /// The log.
    #[command(flatten)]
    pub(crate) log: Log,
    /// jsonl: the events as they are; ocsf: API Activity 6003; azure: AuditEvent; cef: ArcSight; ecs: Elastic
    #[arg(long, value_parser = ["jsonl", "ocsf", "azure", "cef", "ecs"])]
    pub(crate) format: String,
    /// Only events from then on (2026-01-31 or 2026-01-31T08:00:00Z), or from this number on
    #[arg(long, value_name = "TIME|INDEX")]
    pub(crate) since: Option<String>,
    /// Where to, a file that must not exist; without it, to the standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `audit reconcile`
#[derive(Args)]
pub(crate) struct AuditReconcile {
    /// The logs of all that uses these keys: directories, sealed databases or key files
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,
    /// The log of an Azure key vault (AuditEvent): JSON lines, a list, or {"records": [...]}. May be given several times
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) kms_log: Vec<PathBuf>,
    /// The public keys of the logs as you know them, one for each in the same order
    #[arg(long, value_name = "VKEY|FILE")]
    pub(crate) vkey: Vec<String>,
    /// The vault's log begins then: 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// The vault's log ends before then
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// How far the clocks may be apart
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) skew: u64,
}

/// `scrub`
#[derive(Args)]
pub(crate) struct Scrub {
    /// A sealed database, or a volume that nobody has open
    pub(crate) store: PathBuf,
    /// Check the checksums only; finds decay, not malice
    #[arg(long)]
    pub(crate) without_keys: bool,
    /// Open a volume whose journal or list of files is damaged with what there is, for good: what was synced last may be lost
    #[arg(long)]
    pub(crate) accept_damage: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something does not authenticate: a page, a record, a keyring, a log, an old copy
  2    the command line is not understood
  3    a key is refused or cannot be reached
  4    the disk refused, something is in the way, or nothing could be done
  5    audit reconcile: the vault's log and ours do not agree
  130  interrupted; nothing was left behind

Environment:
  COFFERDAM_CUSTOMER, COFFERDAM_INFRASTRUCTURE, COFFERDAM_AUDIT, COFFERDAM_SUITE, COFFERDAM_PIN  as the options of the same name
  COFFERDAM_AUDIT_REQUIRED=1  a database without its audit log is refused
  COFFERDAM_PROBE_INTERVAL, COFFERDAM_OUTAGE_GRACE, COFFERDAM_REVOKE_DEADLINE  seconds; how soon a revoked key closes an open database
  COFFERDAM_PASSPHRASE, COFFERDAM_PASSPHRASE_FILE  the passphrase of key files that have one
  AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE  who we are to vaults in Azure;
    without them, the machine's managed identity
  COFFERDAM_INFRASTRUCTURE_AZURE_…  the same for the infrastructure's key
  AZURE_AUTHORITY_HOST, SSL_CERT_FILE  another cloud to log in to; certificate authorities to trust as well
  COFFERDAM_ROLE  custodian, operator or auditor: only what is that person's duty
  NO_COLOR  no colours

`cofferdam demo` shows everything in a minute, on data of its own.";
