#!/usr/bin/env python3
"""Finds sentences that are hard to read, in comments and documentation.

    scripts/prose.py [PATH]...    the sentences in these files and folders (default: all)

Prints each flagged sentence as FILE:LINE: RULE: SENTENCE, and the counts of each folder. Exit code
1 if more than 1.0 % of all sentences are flagged, or more than 1.5 % of one folder.

A flagged sentence is not always wrong, and other sentences may be unclear: CONTRIBUTING.md says
how we write. Reads Markdown, and the comments of Rust, JavaScript, Python, shell and TOML.
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

SHARE_MAX = 0.010
FOLDER_SHARE_MAX = 0.015

START = r"(?:^|[.:;!?]\s+)"
BE = r"(?:is|was|are|were|has|had|can|cannot|does|did|may)\b"
RULES = {name: re.compile(rule) for name, rule in {
    "a clause instead of a noun": START + r"(?:Who|Whom|Whose|Whoever|Whatever|What|Wherever|How|"
        r"From where|(?:To|Of|For|By|With|In) whom)\b(?![^.]*\?)",
    "'who' as a noun": r"\b(?:of|for|to|by|with|than|and|or|but|is|are|not|says?|hears?|told|"
        r"knows?|only|if) (?:who|whom|whoever)\b",
    "'what' as a noun": r"\b(?:of|for|to|by|with|than|from|like|and|or|but|all|beside|behind|"
        r"before|after) what\b",
    "'that' without a noun": r"\b(?:all|much|those|that) (?:that|of which|of whom) "
        r"(?:is|was|are|were|has|had|comes?|came)\b",
    "'where' instead of 'if' or 'when'": r"\bwhere (?:it|they|that|this|there|nobody|somebody|one|"
        r"none|a|an|the|no|some|several) " + BE,
    "nobody in particular": r"\b(?:somebody|nobody|whoever|everybody)\b",
    "'is to be'": r"\b(?:is|are|was|were|there is|there are) to be\b",
    "old-fashioned word": r"\b(?:anew|whom|hence|thereby|therein|whereof|wherein|for want of|"
        r"of late|to be had|manieth|henceforth|forthwith|in the place of|at an end|as ever|"
        r"taken for|broken off|set aside|begun)\b",
    "'stands' instead of 'is'": r"\b(?:stands?|stood) (?:in|at|there|for|where|beside|before|"
        r"behind|after|again|open)\b",
    "a pronoun without a noun": START + r"(?:One|Those|That|This one|The other|The others|It) "
        r"(?:who|which|that)\b",
    "inverted order": START + r"(?:Of|To|From|By|With|In|On|For|Under|Behind|Beside) "
        r"(?:which|whom|these|those|that|it|them)\b",
}.items()}

HASH = re.compile(r"^\s*#\s(.*)$")
COMMENT = {
    ".rs": re.compile(r"^\s*//[/!]?\s?(.*)$|\s//\s(.*)$"),
    ".js": re.compile(r"^\s*(?://|\*|/\*\*?)\s?(.*)$"),
    ".py": HASH, ".sh": HASH, ".toml": HASH,
    ".md": re.compile(r"(.*)"),
}
SKIPPED = {"target", ".git", "node_modules"}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z*`(\[])|\s\|\s|^\|\s")
LIST_ITEM = re.compile(r"\s*([#*|-]|\d+\.)\s")


def prose(path: Path):
    """Yields the number and the text of each line, or None as the text of code and examples."""
    example = False
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        found = COMMENT[path.suffix].search(line)
        text = next((group for group in found.groups() if group is not None), "") if found else ""
        fence = text.lstrip().startswith("```")
        example ^= fence
        yield number, None if fence or example or not text.strip() else text


def sentences(path: Path):
    """Yields the sentences of a file, each with the line at which its block begins."""
    block, start = [], 0

    def finish():
        text = re.sub(r"`[^`]*`", "`x`", " ".join(block))
        block.clear()
        return [(start, part.strip()) for part in SENTENCE_END.split(text) if part.strip()]

    for number, text in prose(path):
        if text is None or LIST_ITEM.match(text):
            yield from finish()
        if text is not None:
            start = start if block else number
            block.append(text.strip())
    yield from finish()


def folder(path: Path) -> str:
    """Returns the folder for the second limit: src or tests of a crate, or a folder of the root."""
    parts = path.parts[:-1]
    return "/".join(parts[:3] if parts[:1] == ("crates",) else parts[:1]) or "."


def files(roots):
    for root in roots:
        if root.is_file():
            yield root
        for name, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - SKIPPED)
            yield from (Path(name) / file for file in sorted(names) if Path(file).suffix in COMMENT)


def main() -> int:
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return 0
    total, flagged = Counter(), Counter()
    for path in files([Path(name) for name in sys.argv[1:]] or [Path(".")]):
        for number, sentence in sentences(path):
            total[folder(path)] += 1
            rule = next((name for name, rule in RULES.items() if rule.search(sentence)), None)
            if rule:
                flagged[folder(path)] += 1
                print(f"{path}:{number}: {rule}: {sentence[:160]}")
    failed = flagged.total() > SHARE_MAX * total.total()
    for name in sorted(total):
        too_many = flagged[name] > FOLDER_SHARE_MAX * total[name]
        failed |= too_many
        if flagged[name]:
            mark = f"  more than {FOLDER_SHARE_MAX:.1%}" if too_many else ""
            print(f"{flagged[name]:5} of {total[name]:5} sentences  {name}{mark}")
    share = flagged.total() / max(1, total.total())
    print(f"{flagged.total()} of {total.total()} sentences flagged ({share:.1%})")
    return int(failed)


sys.exit(main())
