"""What fail2ban itself makes of its filters, and finds in lines, as JSON.

usage: fail2ban.py DIST-PACKAGES CONFIG < JSON

The input has, by the name of a filter, the lines to look at. The output has, by the
same names, the expressions as fail2ban reads them, and for each the numbers of the
lines in which it finds a failure.
"""

import json
import logging
import re
import sys

sys.path.insert(0, sys.argv[1])
logging.disable(logging.CRITICAL)

from fail2ban.client.filterreader import FilterReader  # noqa: E402
from fail2ban.server.datedetector import DateDetector  # noqa: E402
from fail2ban.server.failregex import FailRegex, Regex, RegexException  # noqa: E402


def lines_of(value):
    return [line for line in (value or "").split("\n") if line]


def read(name):
    reader = FilterReader(name, "jail", {}, basedir=sys.argv[2])
    reader.read()
    reader.applyAutoOptions("auto")
    reader.getOptions(None)
    return reader.getCombined()


def detector(pattern):
    d = DateDetector()
    if pattern:
        for one in lines_of(pattern):
            d.appendTemplate(one)
    else:
        d.addDefaultTemplate()
    return d


def without_time(dates, line):
    """The line as fail2ban gives it to expressions."""
    match, _ = dates.matchTime(line)
    if match:
        return line[: match.start(1)] + line[match.end(1):]
    return line


def composed(prefix, expression):
    """One expression of both, the second in place of the content."""
    body = expression[1:] if expression.startswith("^") else ".*" + expression
    body = body[:-1] if body.endswith("$") and not body.endswith("\\$") else body + ".*"
    whole = Regex._resolveHostTag(prefix)
    inner = Regex._resolveHostTag(body)
    for name in re.findall(r"\(\?P<(\w+)>", inner):
        whole = whole.replace("(?P<%s>" % name, "(?:")
    at = whole.index("(?P<content>")
    end, depth = at, 0
    while True:  # up to the bracket that closes it
        end += 1
        if whole[end] == "\\":
            end += 1
        elif whole[end] == "(":
            depth += 1
        elif whole[end] == ")":
            if depth == 0:
                break
            depth -= 1
    return re.compile(whole[:at] + "(?:" + inner + ")" + whole[end + 1:])


def look_composed(options, lines):
    prefix = options.get("prefregex")
    if not prefix:
        return [[] for _ in lines_of(options.get("failregex"))]
    dates = detector(options.get("datepattern"))
    texts = [without_time(dates, line) + "\n" for line in lines]
    found = []
    for expression in lines_of(options.get("failregex")):
        try:
            whole = composed(prefix, expression)
        except (re.error, ValueError):
            found.append([])
            continue
        found.append([n for n, text in enumerate(texts) if whole.search(text)])
    return found


def look(options, lines):
    dates = detector(options.get("datepattern"))
    prefix = Regex(options["prefregex"]) if options.get("prefregex") else None
    ignores = [Regex(r) for r in lines_of(options.get("ignoreregex"))]
    found = []
    texts = []
    for line in lines:
        text = without_time(dates, line) + "\n"
        groups = {}
        if prefix:
            prefix.search([(text[:-1], "", "")])
            if not prefix.hasMatched():
                texts.append(None)
                continue
            groups = prefix.getGroups()
            text = groups.pop("content", None) or text[:-1]
            text += "\n"
        texts.append((text, groups))
    for expression in lines_of(options.get("failregex")):
        hits = []
        try:
            fail = FailRegex(expression, prefRegex=prefix)
        except RegexException:
            found.append(None)
            continue
        for n, entry in enumerate(texts):
            if entry is None:
                continue
            text, groups = entry
            fail.search([(text[:-1], "", "")])
            if not fail.hasMatched():
                continue
            ignored = False
            for i in ignores:
                i.search([(text[:-1], "", "")])
                ignored = ignored or i.hasMatched()
            all_groups = dict(groups)
            all_groups.update(fail.getGroups())
            if ignored or all_groups.get("nofail") or all_groups.get("mlfgained"):
                continue
            if not any(all_groups.get(g) for g in ("fid", "ip4", "ip6", "dns")):
                continue
            hits.append(n)
        found.append(hits)
    return found


def main():
    out = {}
    for name, lines in json.load(sys.stdin).items():
        try:
            options = read(name)
        except Exception as e:  # a filter that is for others to include
            out[name] = {"error": str(e)}
            continue
        out[name] = {
            "fail": lines_of(options.get("failregex")),
            "ignore": lines_of(options.get("ignoreregex")),
            "prefix": options.get("prefregex") or "",
            "found": look(options, lines),
            "composed": look_composed(options, lines),
        }
    json.dump(out, sys.stdout)


main()
