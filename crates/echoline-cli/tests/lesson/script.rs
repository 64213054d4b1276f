//! Scripts for the comparison of two servers, generated from a seed.

/// The packets of one client. The client sends each packet after the answer to the previous one,
/// and closes its sending side at the end.
pub(crate) type Script = Vec<Vec<u8>>;

/// Returns one to six lines. Some packets contain several lines.
pub(crate) fn script(random: &mut Random, longest: usize) -> Script {
    let count = 1 + random.below(6);
    let mut script: Script = (0..count).map(|_| line(random, longest)).collect();
    if random.chance(30) {
        // A last part without a line end. It is removed if it is empty.
        if let Some(last) = script.last_mut() {
            last.pop();
        }
    }
    match random.below(10) {
        0..5 => {}
        5..7 => script = vec![script.concat()],
        _ => {
            let mut whole = script.concat();
            script.clear();
            for _ in 0..=random.below(4) {
                let rest = whole.split_off(random.below(whole.len() + 1));
                script.push(std::mem::replace(&mut whole, rest));
            }
            script.push(whole);
        }
    }
    script.retain(|chunk| !chunk.is_empty());
    script
}

fn line(random: &mut Random, longest: usize) -> Vec<u8> {
    // White space that Python strips, and three characters that Python does not strip: U+180E,
    // U+200B and U+FEFF.
    const SPACES: &str = "  \t\r\u{b}\u{c}\u{1c}\u{1f}\u{85}\u{a0}\u{1680}\u{2003}\u{2028}\u{3000}\
        \u{180e}\u{200b}\u{feff}";
    const LETTERS: &str = "abz09:*\0\u{7f}éßПривет世界🦀\u{301}";
    const COMMANDS: [&str; 9] =
        ["time", "TIME", "tIMe", "help", "Help me", "quit", "QUIT.", "quıt", "t ime"];
    const BAD: [&[u8]; 6] =
        [b"\xff", b"\x80", b"\xc3", b"\xe2\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    let spaces = |random: &mut Random| random.letters(SPACES, 4);
    let mut line = spaces(random).into_bytes();
    match random.below(100) {
        0..10 => {}
        10..50 => line.extend(random.letters(LETTERS, 20).bytes()),
        50..65 => line.extend(random.pick(&COMMANDS).bytes()),
        65..80 => {
            line.extend(random.letters(LETTERS, 5).bytes());
            line.extend(random.letters(SPACES, 5).bytes());
            line.extend(random.letters(LETTERS, 5).bytes());
        }
        80..87 => {
            line.extend(random.letters(LETTERS, 3).bytes());
            line.extend_from_slice(random.pick(&BAD));
            line.extend(random.letters(LETTERS, 3).bytes());
        }
        87..94 => line.resize(1 + random.below(8 * 1024), b'x'),
        // A line of the maximum length, of one byte less, or of one byte more.
        94..97 => line.resize(longest - 1 + random.below(3), b'y'),
        _ => line.resize(longest + random.below(longest), b'z'),
    }
    if random.chance(70) {
        line.extend(spaces(random).bytes());
    }
    line.extend_from_slice(random.pick(&["\n", "\n", "\r\n"]).as_bytes());
    line
}

/// The SplitMix64 generator, which gives the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is less than a usize")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// Returns at most `most` letters of `alphabet`.
    fn letters(&mut self, alphabet: &str, most: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..self.below(most + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}
