"""Every link from one page to another file of the tree leads somewhere, heading included; and each row of the README's table has its proofs."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()]


def anchors(page):
    """The headings of a page as the names that links give them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in re.findall(r"^#+ +(.*)$", text, re.M)}


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, heading = target.partition("#")
                file = (page.parent / name).resolve() if name else page
                with self.subTest(page=str(page.relative_to(ROOT)), link=target):
                    self.assertTrue(file.exists(), "no such file")
                    if heading and file.suffix == ".md":
                        self.assertIn(heading, anchors(file))

    def test_every_capability_has_a_test_in_each_language(self):
        table = (ROOT / "README.md").read_text().split("## What works")[1].split("\n## ")[0]
        rows = [row for row in table.splitlines() if row.startswith("| ") and not row.startswith("| group")]
        self.assertGreater(len(rows), 10)
        for row in rows:
            with self.subTest(row=row.split("|")[1].strip()):
                for language, place in (("C", "tests/"), ("Python", ""), ("Node.js", "")):
                    self.assertRegex(row, rf"\[{re.escape(language)}\]\({place}[^)]+\)")


if __name__ == "__main__":
    unittest.main()
