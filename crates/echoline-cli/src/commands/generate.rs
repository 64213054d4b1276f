//! `echoline generate`: pages for man(1) and completions for shells, for packagers.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::files::destination::write_file;
use crate::help;

/// The flags of `echoline generate`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  echoline generate man /usr/local/share/man/man1
  echoline generate completions bash > echoline.bash")]
pub(crate) struct GenerateArgs {
    #[command(subcommand)]
    what: GenerateTarget,
}

#[derive(Debug, Subcommand)]
enum GenerateTarget {
    /// Write a man page for each command.
    #[command(after_long_help = "\
Examples:
  echoline generate man /usr/local/share/man/man1")]
    Man {
        /// Folder for the pages.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },

    /// Print the completion script of a shell.
    #[command(after_long_help = "\
Examples:
  echoline generate completions bash > echoline.bash")]
    Completions {
        /// Shell that reads the script.
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// The section on signals in the man pages of commands that serve.
const SIGNALS: &str = r#".SH SIGNALS
.TP
SIGTERM, SIGINT, SIGQUIT
Ends the server after its connections have finished, at the latest after
.BR \-\-drain\-timeout .
A second signal ends it at once.
.TP
SIGHUP
Reads the settings and certificates again, and opens the log files again.
"#;

/// The entry about the signal of an upgrade.
const UPGRADE_SIGNAL: &str = ".TP
SIGUSR2
Starts the program from its file again, and hands the service over when the new process is ready.
";

/// The section on files in the man pages of commands that serve.
const FILES: &str = r#".SH FILES
.TP
.I /usr/share/doc/echoline
What each command does, with examples.
.TP
.IR /usr/lib/systemd/system/echoline.service ", " echoline.socket ", " echoline\-chat.service
Units for
.BR systemd (1).
"#;

/// Writes the man pages or the completions.
pub(crate) fn run(flags: &GenerateArgs, mut program: Command) -> anyhow::Result<ExitCode> {
    match &flags.what {
        GenerateTarget::Man { folder } => {
            program = help::complete(program).disable_help_subcommand(true);
            program.build();
            write_pages(&program, folder)
                .with_context(|| format!("cannot write pages to {}", folder.display()))?;
        }
        GenerateTarget::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut program, "echoline", &mut text);
            io::stdout().write_all(&text).context("cannot write to standard output")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a man page for `command`, and for each of its subcommands that is not hidden.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    let page = Man::new(command.clone()).manual("echoline");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let has = |name: &str| command.get_arguments().any(|argument| argument.get_id() == name);
    if has("drain_timeout") {
        text.extend_from_slice(SIGNALS.as_bytes());
        if has("retire_timeout") {
            text.extend_from_slice(UPGRADE_SIGNAL.as_bytes());
        }
        text.extend_from_slice(FILES.as_bytes());
    }
    write_file(&folder.join(page.get_filename()), &text)?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    below.into_iter().try_for_each(|command| write_pages(command, folder))
}
