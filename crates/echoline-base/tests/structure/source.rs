//! Parses the text of Rust sources: modules, declarations and paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The segments of a path in the code.
pub(crate) type Segments = Vec<String>;

/// The modules of a crate.
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Each module under its path from the root module. The path of the root module is empty.
    pub(crate) modules: BTreeMap<Segments, Module>,
}

/// One file.
pub(crate) struct Module {
    pub(crate) file: String,
    /// The path of each name that a `use` declaration brings into scope.
    pub(crate) imports: BTreeMap<String, Segments>,
    /// Paths that the code names, except re-exports.
    pub(crate) paths: BTreeSet<Segments>,
    types: Vec<String>,
}

/// Returns all crates of the workspace.
pub(crate) fn crates() -> Vec<Crate> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut crates: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    crates.sort();
    let read = |path: &PathBuf| {
        let (root, mut files) = (path.join("src"), Vec::new());
        collect(&root, &root, &mut files);
        Crate::new(path.file_name().unwrap().to_str().unwrap(), files)
    };
    crates.iter().filter(|path| path.join("src").is_dir()).map(read).collect()
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

impl Crate {
    pub(crate) fn new(name: &str, files: impl IntoIterator<Item = (String, String)>) -> Self {
        let files: Vec<(String, String)> = files.into_iter().collect();
        let mut for_tests = BTreeSet::new();
        for (file, text) in &files {
            let mut lines = text.lines().skip_while(|line| line.trim() != "#[cfg(test)]").skip(1);
            while let Some(line) = lines.next() {
                let line = line.trim().trim_start_matches("pub(crate) ");
                let Some(module) = line.strip_prefix("mod ").and_then(|m| m.strip_suffix(';'))
                else {
                    lines.by_ref().take_while(|line| line.trim() != "#[cfg(test)]").count();
                    continue;
                };
                for_tests.insert([path_of(file), vec![module.to_owned()]].concat());
                lines.by_ref().take_while(|line| line.trim() != "#[cfg(test)]").count();
            }
        }
        let is_test = |path: &Segments| for_tests.iter().any(|test| path.starts_with(test));
        let modules = files.into_iter().map(|(file, text)| (path_of(&file), (file, text)));
        let modules = modules.filter(|(path, _)| !is_test(path));
        let modules = modules.map(|(path, (file, text))| (path, Module::parse(file, &text)));
        Self { name: name.to_owned(), modules: modules.collect() }
    }

    /// Returns the names of all types, and their files.
    pub(crate) fn types(&self) -> Vec<(String, String)> {
        let all = self.modules.values().flat_map(|module| {
            let place = format!("{}/{}", self.name, module.file);
            module.types.iter().map(move |name| (name.clone(), place.clone()))
        });
        all.collect()
    }
}

/// Returns the path of the module in a file.
fn path_of(file: &str) -> Segments {
    let mut path: Segments = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if ["mod", "lib", "main"].contains(&path.last().unwrap().as_str()) {
        path.pop();
    }
    path
}

impl Module {
    fn parse(file: String, text: &str) -> Self {
        let code = code_of(text);
        let (mut imports, mut paths) = (BTreeMap::new(), BTreeSet::new());
        let mut rest = String::new();
        let mut left = code.as_str();
        while let Some(start) = find_use(left) {
            let (before, tail) = left.split_at(start);
            let is_public = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            rest.push_str(before);
            let end = tail.find(';').unwrap_or(tail.len());
            for (path, name) in tree(&tail["use".len()..end], &Vec::new()) {
                if !is_public || name == "*" {
                    paths.insert(path.clone());
                }
                imports.insert(name, path);
            }
            left = &tail[end..];
        }
        rest.push_str(left);
        paths.extend(paths_in(&rest));
        Self { file, imports, paths, types: types_in(&rest) }
    }
}

fn find_use(code: &str) -> Option<usize> {
    let is_start = |&(index, _): &(usize, &str)| {
        let before = code[..index].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
    };
    code.match_indices("use ").find(is_start).map(|(index, _)| index)
}

/// Returns the paths in a `use` tree, each with the name that it gets.
fn tree(text: &str, prefix: &Segments) -> Vec<(Segments, String)> {
    let text = text.trim();
    if let Some((head, inner)) = text.split_once('{') {
        let head = head.trim().trim_end_matches("::");
        let mut prefix = prefix.clone();
        prefix.extend(head.split("::").filter(|segment| !segment.is_empty()).map(str::to_owned));
        let inner = &inner[..inner.rfind('}').unwrap_or(inner.len())];
        return parts(inner).into_iter().flat_map(|part| tree(part, &prefix)).collect();
    }
    let (path, alias) = match text.split_once(" as ") {
        Some((path, alias)) => (path.trim(), Some(alias.trim())),
        None => (text, None),
    };
    if path.is_empty() {
        return Vec::new();
    }
    let mut full = prefix.clone();
    full.extend(path.split("::").map(|segment| segment.trim().to_owned()));
    if full.len() > 1 && full.last().is_some_and(|last| last == "self") {
        full.pop();
    }
    let name = alias.map_or_else(|| full.last().unwrap().clone(), str::to_owned);
    vec![(full, name)]
}

/// Splits a text at the commas outside of braces.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (index, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

/// Returns all paths of two segments or more.
fn paths_in(code: &str) -> BTreeSet<Segments> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter| !is_word(letter)).filter(|word| word.contains("::"));
    let segments = |word: &str| -> Segments {
        word.split("::").filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    };
    words
        .filter(|word| !word.starts_with("::"))
        .map(segments)
        .filter(|path| !path.is_empty())
        .collect()
}

/// Returns the types that a text defines, without associated types.
fn types_in(code: &str) -> Vec<String> {
    let mut types = Vec::new();
    for line in code.lines() {
        let is_associated = line.starts_with(' ') && line.trim_start().starts_with("type ");
        let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let kinds = ["struct", "enum", "trait", "type", "union"];
        let starts = ["pub", "struct", "enum", "trait", "type", "union"];
        if is_associated || !starts.iter().any(|start| line.trim_start().starts_with(start)) {
            continue;
        }
        if words.any(|word| kinds.contains(&word)) {
            types.extend(words.find(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    types
}

/// Returns the text without comments, strings and the tests at its end.
fn code_of(text: &str) -> String {
    let test = text.match_indices("#[cfg(test)]").find(|(index, mark)| {
        let after = text[index + mark.len()..].trim_start();
        after.split(';').next().is_some_and(|item| item.contains('{'))
    });
    let text = &text[..test.map_or(text.len(), |(index, _)| index)];
    let mut code = String::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let mut pieces = line.split('"');
        code.push_str(pieces.next().unwrap_or_default());
        // Every other piece is inside a string. An escaped quote is split wrongly, which can only
        // hide a path.
        pieces.skip(1).step_by(2).for_each(|piece| code.push_str(piece));
        code.push('\n');
    }
    code
}
