//! Tests of the report files of `echoline load`, and of `compare` and `merge`.
#![allow(clippy::unwrap_used)]

mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use programs::{EchoServer, Ended, Program, echoline, nobody, read_to_end, run, serve};
use tempfile::TempDir;

fn load(address: &str, flags: &[&str]) -> Ended {
    let mut arguments = vec!["load", address, "--quiet"];
    arguments.extend_from_slice(flags);
    run(&arguments, b"")
}

/// Creates a folder with the reports of `runs` runs of a hundred messages.
fn reports(runs: usize) -> (TempDir, Vec<String>) {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let names = (0..runs).map(|number| {
        let name = folder.path().join(format!("{number}.json")).to_str().unwrap().to_owned();
        let flags = ["--clients", "2", "--messages", "50", "--json", &name];
        assert_eq!(load(&server.address, &flags).code(), Some(0));
        name
    });
    let names = names.collect();
    (folder, names)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns a Python that can import `modules`. If there is none, prints why.
fn python(modules: &str) -> Option<PathBuf> {
    let own =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("target/python/bin/python3");
    let found = [own, PathBuf::from("python3")].into_iter().find(|python| {
        let import = ["-c", &format!("import {modules}")].map(str::to_owned);
        let status = Command::new(python).args(import).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        let text = format!("skipped: no Python here can import {modules} (see scripts/test.sh)\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
    }
    found
}

fn check_with_python(python: &Path, program: &str, arguments: &[&str]) {
    let ended = Command::new(python).args(["-c", program]).args(arguments).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn every_format_is_written_beside_the_text() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, hdr, html) = (path("a.json"), path("a.csv"), path("a.hdr"), path("a.html"));
    let flags = ["--clients", "2", "--messages", "50", "--json", &json, "--csv", &csv];
    let more = ["--hdr", &hdr, "--html", &html];
    let ended = load(&server.address, &[&flags[..], &more].concat());
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.text().contains("Messages: 100"));
    assert_eq!(files(folder.path()), ["a.csv", "a.hdr", "a.html", "a.json"]);
    assert!(fs::read_to_string(&json).unwrap().contains(r#""format": "echoline-load/1""#));
    assert!(fs::read_to_string(&csv).unwrap().starts_with("offset_s,length_s,sent,ok,failed,"));
    assert!(fs::read_to_string(&hdr).unwrap().contains("\nTag=service,0.000,"));
    assert!(fs::read_to_string(&html).unwrap().starts_with("<!doctype html>"));
    // The environment can also name files.
    let mut command = echoline(&["load", &server.address, "--quiet", "--clients", "1"]);
    command.env("ECHOLINE_CSV", path("b.csv"));
    assert_eq!(Program::start(&mut command).finish().code(), Some(0));
    assert!(folder.path().join("b.csv").exists());
}

#[test]
fn a_report_on_stdout_is_the_only_output() {
    let server = EchoServer::start(&[]);
    for name in ["-", "/dev/stdout"] {
        let ended = load(&server.address, &["--clients", "1", "--json", name]);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert!(ended.text().starts_with('{') && ended.text().ends_with("}\n"));
        assert!(ended.stderr.contains("Messages: 100"));
    }
    let merged = run(&["merge", "-", "--html", "-"], &{
        load(&server.address, &["--clients", "1", "--json", "-"]).stdout
    });
    assert!(merged.text().starts_with("<!doctype html>"), "{merged:?}");
    let twice = load(&server.address, &["--json", "-", "--csv", "/dev/stdout"]);
    assert_eq!(twice.code(), Some(2));
    assert!(twice.stderr.contains("--json and --csv both write to stdout"), "{twice:?}");
}

/// Fault 56: a full disk and an unwritable folder are reported, and the text report is still
/// printed.
#[test]
fn failed_writes_are_reported_and_the_text_is_still_printed() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none/a.json").to_str().unwrap().to_owned();
    for (path, reason) in [("/dev/full", "No space left"), (&*missing, "No such file")] {
        let ended = load(&server.address, &["--clients", "1", "--json", path]);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.text().contains("Messages: 100"));
        let sentence = format!("--json: cannot write {path}: {reason}");
        assert!(ended.stderr.contains(&sentence), "{ended:?}");
    }
    // The warning comes before the run, because after a long run it would be too late.
    let warned = load(&server.address, &["--clients", "1", "--json", &missing]).stderr;
    assert!(warned.starts_with(&format!("echoline: --json {missing} will not be written")));
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let server = EchoServer::start(&[]);
    let mut command = echoline(&["load", &server.address, "--quiet", "--html", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("echoline:"));
}

#[test]
fn conditions_decide_the_exit_code() {
    let server = EchoServer::start(&[]);
    let few = ["--clients", "2", "--messages", "50"];
    let with = |condition| load(&server.address, &[&few[..], &["--fail-if", condition]].concat());
    assert_eq!(with("p50>10s,errors>0.1%").code(), Some(0));
    let broken = with("p50>1ns,max>1ns,errors>0.1%");
    assert_eq!(broken.code(), Some(3), "{broken:?}");
    assert!(broken.stderr.contains("--fail-if p50>1ns is true: measured "), "{broken:?}");
    assert_eq!(broken.stderr.lines().count(), 2);
    assert!(broken.text().contains("Messages: 100"));
    let unknown = with("p99.9>10s");
    assert_eq!(unknown.code(), Some(3));
    assert!(unknown.stderr.contains("p99.9>10s cannot be decided: too few samples"), "{unknown:?}");
    let wrong = with("p99=5");
    assert_eq!(wrong.code(), Some(2));
    assert!(wrong.stderr.contains("--fail-if") && wrong.stderr.contains("'p99>5ms,errors>0.1%'"));
    // Failures that the conditions allow do not change the exit code.
    let silent = serve(|mut stream| read_to_end(&mut stream));
    let flags = ["--clients", "1", "--messages", "2", "--timeout", "100ms"];
    let allowed = load(&silent, &[&flags[..], &["--fail-if", "errors>100%"]].concat());
    assert_eq!(allowed.code(), Some(0), "{allowed:?}");
    let refused = load(&nobody().to_string(), &[&few[..], &["--fail-if", "errors>50%"]].concat());
    assert_eq!(refused.code(), Some(3));
}

#[test]
fn runs_are_merged_exactly() {
    let (folder, names) = reports(3);
    let merged = folder.path().join("merged.json").to_str().unwrap().to_owned();
    let files = ["merge", &names[0], &names[1], &names[2], "--json", &merged];
    let ended = run(&[&files[..], &["--not-at-once"]].concat(), b"");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.text().contains("Planned 300 = sent 300 + skipped 0"), "{ended:?}");
    assert!(ended.text().contains("Successful clients: 6/6"));
    // A merged report can be merged again. Merging a single report does not change it.
    let again = run(&["merge", &merged], b"");
    assert_eq!(again.stdout, ended.stdout);
}

/// Issue 11, item 30: runs that never overlapped are refused, or marked if a flag asks for that.
#[test]
fn regression_runs_that_never_overlapped_are_refused_or_marked() {
    let (_folder, names) = reports(2);
    let refused = run(&["merge", &names[0], &names[1]], b"");
    assert_eq!((refused.code(), refused.text().as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("the runs did not overlap"), "{refused:?}");
    assert!(refused.stderr.contains("--not-at-once"), "{refused:?}");
    let marked = run(&["merge", &names[0], &names[1], "--not-at-once"], b"");
    assert_eq!(marked.code(), Some(0), "{marked:?}");
    let warning = "do not trust this run: the merged runs did not overlap";
    assert!(marked.text().contains(warning), "{marked:?}");
}

/// Issue 11, item 30: runs of the same time are merged without a warning.
#[test]
fn runs_of_the_same_time_are_merged() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let flags = ["--quiet", "--rate", "20/s", "--duration", "3s", "--clients", "2", "--json"];
    let start = |name: &String| {
        let arguments = [&["load", &server.address][..], &flags, &[name]].concat();
        Program::start(&mut echoline(&arguments))
    };
    for program in names.each_ref().map(start) {
        assert_eq!(program.finish().code(), Some(0));
    }
    let merged = run(&["merge", &names[0], &names[1]], b"");
    assert_eq!(merged.code(), Some(0), "{merged:?}");
    let text = merged.text();
    assert!(text.contains("open loop, 40.0/s for 3s, 4 clients"), "{text}");
    assert!(!text.contains("did not overlap"), "{text}");
}

/// Issue 11, item 38: a failed write to stdout does not prevent the files.
#[test]
fn regression_a_full_stdout_does_not_prevent_the_files() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, csv, html) = (path("a.json"), path("a.csv"), path("a.html"));
    let flags = ["load", &server.address, "--quiet", "--clients", "1", "--json", &json];
    // A failing file in the middle does not affect the others either.
    let more = ["--csv", "/dev/full", "--hdr", &csv, "--html", &html];
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = echoline(&[&flags[..], &more].concat());
    let ended = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write the report to stdout: No space left"), "{said}");
    assert!(said.contains("--csv: cannot write /dev/full: No space left"), "{said}");
    assert_eq!(files(folder.path()), ["a.csv", "a.html", "a.json"]);
    let merged = run(&["merge", &json], b"");
    assert_eq!(merged.code(), Some(0), "{merged:?}");
}

/// Issue 11, item 38: silent seconds at the end are rows, and each row says when it began.
#[test]
fn regression_silent_seconds_at_the_end_are_rows() {
    let address = serve(|mut stream| {
        let mut message = [0; 64];
        std::io::Read::read_exact(&mut stream, &mut message).unwrap();
        std::io::Write::write_all(&mut stream, &message).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, csv) = (path("a.json"), path("a.csv"));
    let plan = ["--rate", "10/s", "--duration", "3s", "--clients", "1", "--reconnect", "never"];
    let before = jiff::Timestamp::now();
    let ended = load(&address, &[&plan[..], &["--json", &json, "--csv", &csv]].concat());
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let csv = fs::read_to_string(csv).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 4, "{csv}");
    assert_eq!((rows[0].last(), rows[3][..5].join(",")), (Some(&"began"), "2,1,0,0,0".to_owned()));
    let began: Vec<jiff::Timestamp> =
        rows[1..].iter().map(|row| row.last().unwrap().parse().unwrap()).collect();
    // The times have milliseconds.
    assert!(began[0].as_millisecond() >= before.as_millisecond(), "{csv}");
    assert!(began[0] <= jiff::Timestamp::now(), "{csv}");
    assert_eq!(began[2].as_millisecond() - began[0].as_millisecond(), 2000);
    let json = fs::read_to_string(json).unwrap();
    assert!(json.contains("\"measuring_began\": \"2"), "{json}");
    assert_eq!(json.matches("\"sent\": 0,").count(), 2, "{json}");
}

#[test]
fn refuses_an_impossible_merge_in_one_sentence() {
    let (folder, names) = reports(1);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let server = EchoServer::start(&[]);
    let open = ["--rate", "200/s", "--messages", "20", "--clients", "1", "--json", &path("open")];
    assert_eq!(load(&server.address, &open).code(), Some(0));
    fs::write(path("text"), "no JSON").unwrap();
    fs::write(path("other"), r#"{"format": "echoline-load/9"}"#).unwrap();
    fs::write(path("bytes"), [0xff; 9]).unwrap();
    for (file, sentence) in [
        (path("open"), "an open loop and a closed loop cannot be merged"),
        (path("text"), "text: not a report of echoline load (expected"),
        (path("other"), r#"its "format" is "echoline-load/9", not "echoline-load/1""#),
        (path("bytes"), "bytes is not a report of echoline load"),
        (path("none"), "cannot read"),
        (names[0].clone(), "are the same run"),
        (folder.path().to_str().unwrap().to_owned(), "Is a directory"),
        ("/dev/zero".to_owned(), "it is larger than 64 MiB"),
    ] {
        let ended = run(&["merge", &names[0], &file], b"");
        assert_eq!((ended.code(), ended.text().as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(sentence), "{sentence}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn runs_are_compared_and_too_few_runs_give_no_verdict() {
    let (_folder, names) = reports(2);
    let ended = run(&["compare", &names[0], &names[1]], b"");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let text = ended.text();
    assert!(text.contains("Verdict: none."), "{text}");
    assert!(text.contains("needs at least 5 runs on each side"), "{text}");
    for figure in ["rate", "errors", "p50", "p90", "p99", "p99.9"] {
        assert!(text.lines().any(|line| line.starts_with(figure)), "no {figure} in {text}");
    }
    for wrong in [
        &["compare"][..],
        &["compare", &names[0]],
        &["compare", "--before", &names[0]],
        &["compare", &names[0], &names[1], "--tolerance", "5"],
    ] {
        assert_eq!(run(wrong, b"").code(), Some(2), "{wrong:?}");
    }
    let same = run(&["compare", &names[0], &names[0]], b"");
    assert!(same.stderr.contains("are the same run"), "{same:?}");
}

/// A comparison finds a slow server worse than a fast one, and a fast server better than a slow
/// one.
#[test]
fn a_server_that_became_slow_is_found() {
    let slow = serve(|mut stream| {
        let mut message = [0; 64];
        while std::io::Read::read_exact(&mut stream, &mut message).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
            std::io::Write::write_all(&mut stream, &message).unwrap();
        }
    });
    let (folder, before) = reports(5);
    let after: Vec<String> = (0..5)
        .map(|number| {
            let name = folder.path().join(format!("slow-{number}")).to_str().unwrap().to_owned();
            let flags = ["--clients", "2", "--messages", "25", "--json", &name];
            assert_eq!(load(&slow, &flags).code(), Some(0));
            name
        })
        .collect();
    let compare = |before: &[String], after: &[String]| {
        let mut arguments = vec!["compare", "--before"];
        arguments.extend(before.iter().map(String::as_str));
        arguments.push("--after");
        arguments.extend(after.iter().map(String::as_str));
        run(&arguments, b"")
    };
    let worse = compare(&before, &after);
    assert_eq!(worse.code(), Some(3), "{worse:?}");
    assert!(worse.text().contains("Verdict: worse in rate, p50."), "{worse:?}");
    assert!(worse.text().contains("different setting: messages is 50 before, 25 after"));
    let better = compare(&after, &before);
    assert_eq!(better.code(), Some(0), "{better:?}");
    assert!(better.text().contains("Verdict: no worse, better in rate, p50."), "{better:?}");
    let limited = run(&["compare", &before[0], &after[0], "--max-worse", "20%"], b"");
    assert_eq!(limited.code(), Some(3), "{limited:?}");
    assert!(limited.text().contains("--max-worse is exceeded: p50 +"), "{limited:?}");
}

#[test]
fn the_json_matches_its_schema() {
    let Some(python) = python("jsonschema") else { return };
    let (folder, mut names) = reports(1);
    // This run has a warm-up and failures.
    let silent = serve(|mut stream| read_to_end(&mut stream));
    let failed = folder.path().join("failed").to_str().unwrap().to_owned();
    let flags = ["--rate", "100/s", "--duration", "400ms", "--warmup", "200ms"];
    let more = ["--timeout", "100ms", "--clients", "2", "--json", &failed];
    assert_eq!(load(&silent, &[&flags[..], &more].concat()).code(), Some(1));
    names.push(failed);
    // This run has no server, other percentiles, and a seed that a double cannot represent.
    let dead = folder.path().join("dead").to_str().unwrap().to_owned();
    let flags = ["--duration", "200ms", "--clients", "2", "--json", &dead];
    let more = ["--percentiles", "50,95,99.95", "--seed", "18446744073709551615"];
    assert_eq!(load(&nobody().to_string(), &[&flags[..], &more].concat()).code(), Some(1));
    names.push(dead);
    let schema = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("docs/load-report.schema.json");
    let program = "import json, jsonschema, sys\n\
                   schema = json.load(open(sys.argv[1]))\n\
                   jsonschema.Draft202012Validator.check_schema(schema)\n\
                   report = json.load(open(sys.argv[2]))\n\
                   jsonschema.validate(report, schema)\n\
                   del report['measured']['ledger']['ok']\n\
                   try: jsonschema.validate(report, schema)\n\
                   except jsonschema.ValidationError: sys.exit(0)\n\
                   sys.exit('a ledger without ok passed')\n";
    for name in &names {
        check_with_python(&python, program, &[schema.to_str().unwrap(), name]);
    }
}

/// The Python port of HdrHistogram reads the log and the histograms of the JSON, and finds the
/// percentiles that the report shows.
#[test]
fn another_program_reads_the_histograms() {
    let Some(python) = python("hdrh.log") else { return };
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, hdr) = (path("a.json"), path("a.hdr"));
    let flags = ["--rate", "2000/s", "--messages", "500", "--clients", "4"];
    let outputs = ["--json", &json, "--hdr", &hdr];
    assert_eq!(load(&server.address, &[&flags[..], &outputs].concat()).code(), Some(0));
    let program = "import json, sys\n\
        from hdrh.histogram import HdrHistogram\n\
        from hdrh.log import HistogramLogReader\n\
        measured = json.load(open(sys.argv[1]))['measured']\n\
        reader = HistogramLogReader(sys.argv[2], HdrHistogram(1, 1 << 46, 3))\n\
        log, seconds = {}, 0\n\
        while (histogram := reader.get_next_interval_histogram()) is not None:\n\
        \x20   tag = histogram.get_tag()\n\
        \x20   if tag: log[tag] = histogram\n\
        \x20   else: seconds += histogram.get_total_count()\n\
        assert seconds == 2000, seconds\n\
        for name in ['latency', 'service', 'connect', 'lag']:\n\
        \x20   times = measured[name]\n\
        \x20   for histogram in [log[name], HdrHistogram.decode(times['hdr'])]:\n\
        \x20       assert histogram.get_total_count() == times['count'], name\n\
        \x20       for percent in [50, 90, 99, 99.9]:\n\
        \x20           shown = times[f'p{percent}_ns']\n\
        \x20           found = histogram.get_value_at_percentile(percent)\n\
        \x20           near = shown is None or abs(found - shown) <= found / 1000\n\
        \x20           assert near, (name, percent, found, shown)\n\
        assert measured['service']['p99_ns'] is not None\n";
    check_with_python(&python, program, &[&json, &hdr]);
}
