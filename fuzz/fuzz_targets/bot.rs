//! A program sends arbitrary lines to a chat. Each line of the answer is one JSON object without
//! control characters, and the session ends when the program ends its stream.
#![no_main]

use std::sync::{Arc, LazyLock};

use echoline::{Connection, Eol, Limits, Shutdown};
use echoline_chat::{self, Chat, ChatSettings, Role};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

/// A runtime whose clock advances by itself while the chat waits, so that pauses take no time.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
});

/// Returns the answer to everything that the program sends.
async fn converse(input: &[u8], role: Role) -> Vec<u8> {
    let chat = Arc::new(Chat::new(ChatSettings { flood: None, ..ChatSettings::default() }));
    let limits = Limits { max_line: 4096, ..Limits::default() };
    let (near, far) = duplex(1 << 20);
    let far =
        Connection::accepted(far, limits, Eol::CrLf, echoline_chat::farewell(), Shutdown::new());
    let (mut reader, mut writer) = tokio::io::split(near);
    let session = tokio::spawn(echoline_chat::serve(far, chat, role));
    let mut answer = Vec::new();
    let write = async {
        let _ = writer.write_all(input).await;
        let _ = writer.shutdown().await;
    };
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut answer));
    read.unwrap();
    session.await.expect("no session panics").ok();
    answer
}

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (is_page, has_name, bytes) = input;
    // The byte 0xFF begins a Telnet command, which gets a Telnet answer.
    if bytes.contains(&0xff) {
        return;
    }
    let hello: &[u8] =
        if has_name { b"{\"name\": \"ci\", \"rooms\": [\"lobby\", \"b\"]}\n" } else { b"" };
    let role = if is_page { Role::Web } else { Role::Bot };
    let answer = RUNTIME.block_on(converse(&[hello, bytes, b"\n"].concat(), role));
    let answer = String::from_utf8(answer).expect("the chat sends text");
    for line in answer.split("\r\n").filter(|line| !line.is_empty()) {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(value["kind"].is_string(), "{line}");
        assert!(echoline_chat::is_clean(line), "{line:?}");
    }
});
