//! Measures the memory of a chat's members, and checks that a line needs no memory per reader.
#![allow(clippy::unwrap_used)]

mod pipes;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dhat::HeapStats;
use echoline::{Closed, Limits};
use echoline_chat::{self, Chat, ChatSettings, Role};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const MEMBERS: usize = 300;

/// Held by each test, because the allocator counts for the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn join(chat: &Arc<Chat>, number: usize) -> DuplexStream {
    let (mut there, client) = pipes::connect(4096, Limits::default());
    tokio::spawn(echoline_chat::serve(client, Arc::clone(chat), Role::User));
    there.write_all(format!("m{number}\n").as_bytes()).await.unwrap();
    there
}

/// Starts a connection that only waits for lines.
async fn wait(number: usize) -> DuplexStream {
    let (mut there, mut client) = pipes::connect(4096, Limits::default());
    tokio::spawn(async move {
        while client.read_line().await?.is_some() {}
        Ok::<(), Closed>(())
    });
    there.write_all(format!("m{number}\n").as_bytes()).await.unwrap();
    there
}

/// Lets all tasks run, reads the members' output, and returns the number of lines.
async fn read_all(members: &mut [DuplexStream]) -> usize {
    let mut lines = 0;
    for _ in 0..8 {
        tokio::task::yield_now().await;
        for member in &mut *members {
            lines += read_now(member);
        }
    }
    lines
}

fn read_now(member: &mut DuplexStream) -> usize {
    let mut bytes = [0; 4096];
    let mut buffer = ReadBuf::new(&mut bytes);
    let cx = &mut Context::from_waker(Waker::noop());
    match std::pin::Pin::new(member).poll_read(cx, &mut buffer) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => return 0,
    }
    buffer.filled().iter().filter(|&&byte| byte == b'\n').count()
}

/// A line is encoded once, without an allocation per reader. An idle member needs little more
/// memory than an idle connection: only its membership and its name.
#[tokio::test(flavor = "current_thread")]
async fn a_line_uses_no_memory_per_reader_and_a_member_little() {
    let _alone = ALONE.lock().await;
    let _profiler = dhat::Profiler::builder().testing().build();
    let empty = HeapStats::get().curr_bytes;
    let mut waiting = Vec::new();
    for number in 0..MEMBERS {
        waiting.push(wait(number).await);
    }
    read_all(&mut waiting).await;
    let plain = HeapStats::get().curr_bytes - empty;

    let chat = Arc::new(Chat::new(ChatSettings { flood: None, ..ChatSettings::default() }));
    let empty = HeapStats::get().curr_bytes;
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(join(&chat, number).await);
        read_all(&mut members).await;
    }
    read_all(&mut members).await;
    let chat = HeapStats::get().curr_bytes - empty;
    let (member, plain) = (chat / MEMBERS, plain / MEMBERS);
    // A member includes its connection, and its share of the room's log, which has a limit.
    assert!(member < 2700, "a member needs {member} bytes, and an idle connection {plain}");

    let before = HeapStats::get();
    members[0].write_all(b"hello\n").await.unwrap();
    assert_eq!(read_all(&mut members).await, MEMBERS - 1, "everyone but the author gets the line");
    let after = HeapStats::get();
    let (blocks, bytes) =
        (after.total_blocks - before.total_blocks, after.total_bytes - before.total_bytes);
    assert!(blocks < 30, "{blocks} allocations for {MEMBERS} readers");
    assert!(bytes < 64 * 1024, "{bytes} bytes for {MEMBERS} readers");
}

/// A command needs more than 2 KiB, because its future is boxed while it runs. Text for the room
/// does not.
#[tokio::test(flavor = "current_thread")]
async fn saying_lines_allocates_no_boxed_future() {
    const LINES: usize = 600;
    let _alone = ALONE.lock().await;
    let _profiler = dhat::Profiler::builder().testing().build();
    for (role, hello, line, most) in [
        (Role::User, "ann\n", "hello\n", 512),
        // Most of this is needed for parsing the JSON.
        (Role::Bot, "{\"name\": \"bot\"}\n", "{\"say\": \"hello\"}\n", 3072),
    ] {
        let settings = ChatSettings { flood: None, ..ChatSettings::default() };
        let chat = Arc::new(Chat::new(settings));
        let (there, client) = pipes::connect(4096, Limits::default());
        tokio::spawn(echoline_chat::serve(client, Arc::clone(&chat), role));
        let mut author = [there];
        author[0].write_all(hello.as_bytes()).await.unwrap();
        read_all(&mut author).await;
        let before = HeapStats::get().total_bytes;
        for _ in 0..LINES / 100 {
            author[0].write_all(line.repeat(100).as_bytes()).await.unwrap();
            read_all(&mut author).await;
        }
        let each = (HeapStats::get().total_bytes - before) / LINES as u64;
        assert!(each < most, "{role:?}: {each} bytes for each line");
    }
}

/// Issue 12, item 12: 60 pages that ask for the members of a room and do not read the answers cost
/// little memory each.
#[tokio::test(flavor = "current_thread")]
async fn attack_pages_that_do_not_read_cost_one_answer_each() {
    const PAGES: usize = 60;
    let _alone = ALONE.lock().await;
    let _profiler = dhat::Profiler::builder().testing().build();
    let chat = Arc::new(Chat::new(ChatSettings { flood: None, ..ChatSettings::default() }));
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let mut member = join(&chat, number).await;
        for length in [200, 3900] {
            let away = "x".repeat(length);
            member.write_all(format!("/away {away}\n").as_bytes()).await.unwrap();
            read_now(&mut member);
            tokio::task::yield_now().await;
        }
        members.push(member);
        read_all(&mut members).await;
    }
    let before = HeapStats::get().curr_bytes;
    let mut pages = Vec::new();
    for number in 0..PAGES {
        let (mut there, client) = pipes::connect(4096, Limits::default());
        tokio::spawn(echoline_chat::serve(client, Arc::clone(&chat), Role::Bot));
        there.write_all(format!("{{\"name\": \"page{number}\"}}\n").as_bytes()).await.unwrap();
        read_all(&mut members).await;
        pages.push(there);
    }
    for page in &mut pages {
        for subject in ["people", "people", "history", "rooms", "commands", "people"] {
            let question = format!("{{\"ask\": \"{subject}\"}}\n");
            page.write_all(question.as_bytes()).await.unwrap();
        }
    }
    read_all(&mut members).await;
    let each = HeapStats::get().curr_bytes.saturating_sub(before) / PAGES;
    assert!((1024..100 * 1024).contains(&each), "{each} bytes for each page that does not read");
}
