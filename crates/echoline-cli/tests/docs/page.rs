//! Pages of the documentation: their fenced blocks, and the commands in the blocks.

use std::fs;
use std::path::Path;

/// The comment before a block that cannot run; the reason and `-->` follow.
const NOT_RUN: &str = "<!-- not run: ";

/// The languages of blocks with commands.
const CONSOLE: &str = "console";
const SCRIPT: &str = "sh";

/// The commands of echoline. Another word after `echoline` is not a command.
const COMMANDS: &[&str] = &["cert", "chat", "check", "compare", "echo", "load", "merge", "send"];

/// One page, with its fenced blocks in order.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) blocks: Vec<Block>,
    /// The lines outside of blocks, with their numbers.
    pub(crate) text: Vec<(usize, String)>,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// The line number of the opening fence, counted from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    /// The reason why the commands of the block cannot run, if the page gives one.
    pub(crate) not_run: Option<String>,
    pub(crate) lines: Vec<String>,
}

/// A command, and the output that the page shows below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The line of the page on which the command begins, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) shown: Vec<String>,
}

impl Page {
    /// Reads a page by its path from the root of the repository.
    pub(crate) fn read(name: &str) -> Self {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let text = fs::read_to_string(root.join(name));
        Self::parse(name, &text.unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    /// Parses the text of a page.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let (mut blocks, mut outside) = (Vec::new(), Vec::new());
        let mut before = "";
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            if let Some((indent, language)) = line.split_once("```")
                && indent.trim().is_empty()
            {
                let inside = lines.by_ref().map(|(_, line)| line);
                let inside = inside.take_while(|line| line.trim() != "```");
                let without_indent =
                    |line: &str| line.strip_prefix(indent).unwrap_or("").to_owned();
                let marked = before.trim().strip_prefix(NOT_RUN);
                blocks.push(Block {
                    line: index + 1,
                    language: language.trim().to_owned(),
                    not_run: marked.map(|rest| rest.trim_end_matches("-->").trim().to_owned()),
                    lines: inside.map(without_indent).collect(),
                });
            } else {
                outside.push((index + 1, line.to_owned()));
            }
            before = line;
        }
        Self { name: name.to_owned(), blocks, text: outside }
    }

    /// Returns the commands of all blocks that the test types.
    pub(crate) fn typed(&self) -> impl Iterator<Item = Command> {
        self.blocks.iter().filter(|block| block.not_run.is_none()).flat_map(Block::typed)
    }

    /// Returns the commands that the test only parses: those of scripts and of blocks that cannot
    /// run.
    pub(crate) fn parsed(&self) -> impl Iterator<Item = Command> {
        self.blocks.iter().flat_map(|block| match &block.not_run {
            Some(_) if block.language == CONSOLE => block.typed(),
            _ => block.script(),
        })
    }

    /// Returns the violations of the rules for pages, with the line of each.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mistakes = self.blocks.iter().filter_map(|block| Some((block.line, block.mistake()?)));
        mistakes.map(|(line, mistake)| format!("{}:{line}: {mistake}", self.name)).collect()
    }
}

impl Block {
    /// Returns the commands after `$ ` in a block of the language `console`, and their output.
    fn typed(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        if self.language != CONSOLE {
            return commands;
        }
        for (line, number) in self.lines.iter().zip(self.line + 1..) {
            if let Some(text) = line.strip_prefix("$ ") {
                commands.push(Command { line: number, text: text.to_owned(), shown: Vec::new() });
                continue;
            }
            let Some(command) = commands.last_mut() else { continue };
            match line.strip_prefix('>') {
                Some(more)
                    if command.shown.is_empty() && (more.is_empty() || more.starts_with(' ')) =>
                {
                    command.text.push('\n');
                    command.text.push_str(more.strip_prefix(' ').unwrap_or(more));
                }
                _ => command.shown.push(line.clone()),
            }
        }
        commands
    }

    /// Returns the commands of a block of the language `sh`, without its comments.
    fn script(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        if self.language != SCRIPT {
            return commands;
        }
        let mut continued = false;
        for (line, number) in self.lines.iter().zip(self.line + 1..) {
            let text = line.strip_suffix('\\').unwrap_or(line);
            match commands.last_mut() {
                Some(command) if continued => command.text.push_str(text),
                _ if text.trim().is_empty() || text.trim_start().starts_with('#') => {}
                _ => commands.push(Command {
                    line: number,
                    text: text.to_owned(),
                    shown: Vec::new(),
                }),
            }
            continued = line.ends_with('\\');
        }
        commands
    }

    fn mistake(&self) -> Option<String> {
        if self.language.is_empty() {
            return Some(
                "the block has no language: write console, sh, text or another one".to_owned(),
            );
        }
        if self.not_run.as_ref().is_some_and(String::is_empty) {
            return Some("the comment gives no reason for a block that is not run".to_owned());
        }
        if self.not_run.is_some() {
            return None;
        }
        match self.language.as_str() {
            CONSOLE if !self.lines.first().is_some_and(|line| line.starts_with("$ ")) => Some(
                "a console block begins with '$ ' and a command; output alone is text".to_owned(),
            ),
            SCRIPT => {
                let other =
                    self.script().into_iter().find(|command| !runs_echoline(&command.text))?;
                Some(format!(
                    "the script runs another program than echoline: make the block console, or say \
                     {NOT_RUN}REASON --> before it: {}",
                    other.text
                ))
            }
            CONSOLE => None,
            "bash" | "shell" | "shell-session" => {
                Some(format!("{} is not tested: write console or sh", self.language))
            }
            _ => {
                let prompt = self.lines.iter().find(|line| line.starts_with("$ "))?;
                Some(format!("only a console block has commands: {prompt}"))
            }
        }
    }
}

/// Returns whether a line of a script runs echoline. Variables or `sudo` may precede it, and it may
/// be in a pipeline.
fn runs_echoline(command: &str) -> bool {
    simple_commands(command).iter().any(|simple| {
        let mut words = simple.split_whitespace().skip_while(|word| {
            ["do", "sudo", "then"].contains(word)
                || word.split_once('=').is_some_and(|(name, _)| is_variable(name))
        });
        words.next() == Some("echoline")
    })
}

fn is_variable(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.chars().all(is_part)
}

/// Returns the arguments of each call of echoline in a line of a script. It also finds a call after
/// another program, as in `nohup echoline echo`, if a command of echoline follows.
pub(crate) fn invocations(line: &str) -> Vec<String> {
    let found = simple_commands(line).into_iter().filter_map(|simple| {
        let padded = format!(" {simple} ");
        let (before, arguments) = padded.split_once(" echoline ")?;
        let first = arguments.split_whitespace().next().unwrap_or("");
        let is_command = before.trim().is_empty() || COMMANDS.contains(&first);
        is_command.then(|| arguments.trim().to_owned())
    });
    found.collect()
}

/// Splits a line of the shell at its operators that are not quoted, and leaves redirections and
/// comments out.
fn simple_commands(line: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    let (mut quote, mut escaped, mut before, mut is_redirection) = (None, false, ' ', false);
    for letter in line.chars() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#') if before == ' ' => break,
            (None, '<' | '>') => {
                is_redirection = true;
                let descriptor = [" 1", " 2"].iter().any(|end| command.ends_with(end));
                command.truncate(command.len() - usize::from(descriptor));
            }
            (None, '|' | '&' | ';' | '\n') if before != '>' => {
                commands.push(std::mem::take(&mut command));
                is_redirection = false;
                before = letter;
                continue;
            }
            _ => {}
        }
        if !is_redirection {
            command.push(letter);
        }
        before = letter;
    }
    commands.push(command);
    let trimmed = commands.iter().map(|command| command.trim().to_owned());
    trimmed.filter(|command| !command.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Words.

```console
$ cat > file <<'END'
> one
> END
$ cat file
one
> two
```

1. In a list:

   <!-- not run: it needs root -->
   ```sh
   # a comment
   sudo echoline echo --listen 0.0.0.0:7 \\
       --user nobody & # behind it
   ```
";

    #[test]
    fn finds_commands_with_their_lines_and_output() {
        let page = Page::parse("page.md", TEXT);
        let typed: Vec<Command> = page.typed().collect();
        let command = |line, text: &str, shown: &[&str]| Command {
            line,
            text: text.to_owned(),
            shown: shown.iter().map(|line| (*line).to_owned()).collect(),
        };
        let first = command(4, "cat > file <<'END'\none\nEND", &[]);
        assert_eq!(typed, [first, command(7, "cat file", &["one", "> two"])]);
        assert_eq!(page.blocks[1].not_run.as_deref(), Some("it needs root"));
        let parsed: Vec<Command> = page.parsed().collect();
        assert_eq!(parsed[0].line, 17);
        let flags = "echo --listen 0.0.0.0:7     --user nobody";
        assert_eq!(invocations(&parsed[0].text), [flags]);
        assert!(page.mistakes().is_empty());
    }

    #[test]
    fn finds_the_arguments_of_echoline_and_nothing_behind_them() {
        for (line, found) in [
            ("echoline echo  # all defaults", &["echo"][..]),
            ("echoline load a:1 --fail-if 'p99>5ms' > file", &["load a:1 --fail-if 'p99>5ms'"]),
            (r#"echoline send a:1 "a \" | b" | wc"#, &[r#"send a:1 "a \" | b""#]),
            ("echoline send a:1 x 2> /dev/null || echo no", &["send a:1 x"]),
            ("X=1 echoline echo >&2 & echoline --version", &["echo", "--version"]),
            ("for i in 1 2; do echoline load a:1; done", &["load a:1"]),
            ("systemd-socket-activate -l 1 echoline chat", &["chat"]),
            ("kill $(pgrep -x echoline); systemctl stop echoline", &[]),
            ("echoline", &[""]),
        ] {
            assert_eq!(invocations(line), found, "{line}");
        }
        assert!(runs_echoline("printf 'a\n' | echoline send a:1"));
        assert!(runs_echoline("for i in 1; do A=1 sudo echoline echo; done"));
        assert!(!runs_echoline("systemd-socket-activate -l 1 echoline chat"));
    }

    #[test]
    fn names_each_mistake_of_a_page() {
        for (block, word) in [
            ("```\nx\n```", "no language"),
            ("```console\noutput\n```", "begins with '$ '"),
            ("```sh\ncurl x\n```", "another program"),
            ("```bash\nx\n```", "not tested"),
            ("```text\n$ x\n```", "only a console block"),
            ("<!-- not run: -->\n```sh\nx\n```", "no reason"),
        ] {
            let mistakes = Page::parse("page.md", block).mistakes();
            assert!(mistakes.len() == 1 && mistakes[0].contains(word), "{block}: {mistakes:?}");
        }
    }
}
