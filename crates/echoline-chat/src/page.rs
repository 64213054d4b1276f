//! The chat page for browsers: static files that are compiled into the program.

use echoline::site::Asset;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// The page's files, for a [`Site`](crate::Site). Its users are served with
/// [`Role::Web`](super::Role::Web).
pub const PAGE: &[Asset] = &[
    asset("/", HTML, include_str!("../web/index.html")),
    asset("/style.css", STYLE, include_str!("../web/style.css")),
    asset("/icon.svg", PICTURE, include_str!("../web/icon.svg")),
    asset("/app.js", SCRIPT, include_str!("../web/app.js")),
    asset("/asks.js", SCRIPT, include_str!("../web/asks.js")),
    asset("/chat.js", SCRIPT, include_str!("../web/chat.js")),
    asset("/commands.js", SCRIPT, include_str!("../web/commands.js")),
    asset("/composer.js", SCRIPT, include_str!("../web/composer.js")),
    asset("/folding.js", SCRIPT, include_str!("../web/folding.js")),
    asset("/incoming.js", SCRIPT, include_str!("../web/incoming.js")),
    asset("/link.js", SCRIPT, include_str!("../web/link.js")),
    asset("/log.js", SCRIPT, include_str!("../web/log.js")),
    asset("/memory.js", SCRIPT, include_str!("../web/memory.js")),
    asset("/notifier.js", SCRIPT, include_str!("../web/notifier.js")),
    asset("/outgoing.js", SCRIPT, include_str!("../web/outgoing.js")),
    asset("/panels.js", SCRIPT, include_str!("../web/panels.js")),
    asset("/question.js", SCRIPT, include_str!("../web/question.js")),
    asset("/sentences.js", SCRIPT, include_str!("../web/sentences.js")),
    asset("/sent.js", SCRIPT, include_str!("../web/sent.js")),
    asset("/text.js", SCRIPT, include_str!("../web/text.js")),
    asset("/view.js", SCRIPT, include_str!("../web/view.js")),
    asset("/words.js", SCRIPT, include_str!("../web/words.js")),
];

const fn asset(path: &'static str, kind: &'static str, content: &'static str) -> Asset {
    Asset { path, kind, content }
}
