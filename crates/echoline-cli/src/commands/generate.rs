//! `echoline generate`: pages for man(1) and completions for shells, for packagers.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::files::destination::write_file;

/// The flags of `echoline generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(subcommand)]
    what: GenerateTarget,
}

#[derive(Debug, Subcommand)]
enum GenerateTarget {
    /// Writes a page for man(1) on each command to this folder.
    Man {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },

    /// Prints what makes this shell complete commands and flags.
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// The section on signals in the man pages of commands that serve.
const SIGNALS: &str = r#".SH SIGNALS
.TP
SIGTERM, SIGINT, SIGQUIT
Ends in order: who is connected gets all answers, for at most
.BR \-\-drain\-timeout ;
a second one ends at once.
.TP
SIGHUP
Reads what can change while serving anew.
.TP
SIGUSR2
Starts the program anew from its file, and leaves the service to it once it is ready.
.SH FILES
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
            program = program.disable_help_subcommand(true);
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

/// Returns a page for `command`, and for each below it that is not hidden.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    let page = Man::new(command.clone()).manual("echoline");
    let mut text = Vec::new();
    page.render(&mut text)?;
    if command.get_arguments().any(|argument| argument.get_id() == "retire_timeout") {
        text.extend_from_slice(SIGNALS.as_bytes());
    }
    write_file(&folder.join(page.get_filename()), &text)?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    below.into_iter().try_for_each(|command| write_pages(command, folder))
}
