"""Every example does what its first line says, between every two languages.

    python3 -m unittest discover tests/examples                 all
    LANGUAGES="c python" python3 -m unittest discover ...       some
"""

import itertools
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import LANGUAGES, LIMIT, Program, run  # noqa: E402

TRANSPORTS = ("/tcp/", "/quic-v1")


class Echo(unittest.TestCase):
    def test_gives_back_what_it_is_sent(self):
        for server in LANGUAGES:
            with Program(server, "echo", "serve") as serving:
                address = serving.address("/tcp/")
                for client in LANGUAGES:
                    with self.subTest(server=server, client=client):
                        self.assertEqual(run(client, "echo", "dial", address, "hello, wörld"), (0, "hello, wörld\n", ""))

    def test_over_every_transport(self):
        for language, transport in itertools.product(LANGUAGES, TRANSPORTS):
            with self.subTest(language=language, transport=transport), Program(language, "echo", "serve") as serving:
                address = serving.address(transport)
                self.assertEqual(run(language, "echo", "dial", address, transport), (0, transport + "\n", ""))

    def test_gives_back_more_than_one_read(self):
        text = "0123456789abcdef" * 6000  # within what one argument of a command may hold
        for server in LANGUAGES:
            with Program(server, "echo", "serve") as serving:
                address = serving.address("/tcp/")
                for client in LANGUAGES:
                    with self.subTest(server=server, client=client):
                        code, output, _ = run(client, "echo", "dial", address, text)
                        self.assertEqual(code, 0)
                        self.assertTrue(output == text + "\n", f"{len(output)} characters came back")

    def test_dial_to_nobody_fails_and_names_the_address(self):
        nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh"
        for client in LANGUAGES:
            with self.subTest(client=client):
                code, output, errors = run(client, "echo", "dial", nobody, "hello")
                self.assertNotEqual(code, 0)
                self.assertIn("/ip4/127.0.0.1/tcp/1", output + errors)

    def test_wrong_usage_is_told(self):
        for language in LANGUAGES:
            with self.subTest(language=language):
                code, _, errors = run(language, "echo", "shout")
                self.assertEqual(code, 2)
                self.assertIn("usage:", errors)


class Request(unittest.TestCase):
    def test_answers(self):
        for server in LANGUAGES:
            with Program(server, "request", "serve") as serving:
                address = serving.address("/tcp/")
                for client in LANGUAGES:
                    with self.subTest(server=server, client=client):
                        self.assertEqual(run(client, "request", "ask", address, "upper", "hello there"), (0, "HELLO THERE\n", ""))
                        counted = "".join(f"{i}\n" for i in range(1, 8))
                        self.assertEqual(run(client, "request", "ask", address, "count", "7"), (0, counted, ""))

    def test_many_parts_arrive_in_order(self):
        counted = "".join(f"{i}\n" for i in range(1, 2001))
        for language in LANGUAGES:
            with self.subTest(language=language), Program(language, "request", "serve") as serving:
                self.assertEqual(run(language, "request", "ask", serving.address("/quic-v1"), "count", "2000"), (0, counted, ""))

    def test_an_error_answer_reaches_the_asker(self):
        for server in LANGUAGES:
            with Program(server, "request", "serve") as serving:
                address = serving.address("/tcp/")
                for client in LANGUAGES:
                    with self.subTest(server=server, client=client):
                        code, output, errors = run(client, "request", "ask", address, "count", "three")
                        self.assertNotEqual(code, 0)
                        self.assertEqual(output, "")
                        self.assertIn("count", errors)


class Explain(unittest.TestCase):
    """The C program; Python and Node.js have it as a command of their own."""

    def test_tells_who_is_there_and_who_is_not(self):
        with Program("python", "echo", "serve") as serving:
            address = serving.address("/tcp/")
            code, output, errors = run("c", "explain", address)
            self.assertEqual((code, errors), (0, ""), output)
            self.assertIn("[reachable]", output)
            code, output, _ = run("c", "explain", "-p", "/nothing/1", address)
            self.assertEqual(code, 1)
            self.assertIn("[protocol_missing]", output)
        code, output, _ = run("c", "explain", address)
        self.assertEqual(code, 1)
        self.assertIn("[nobody_listens]", output)
        self.assertIn("Advice:", output)

    def test_wrong_usage_is_told(self):
        code, _, errors = run("c", "explain")
        self.assertEqual(code, 2)
        self.assertIn("usage:", errors)


class Chat(unittest.TestCase):
    def heard(self, speaker, hearer, words):
        """A line of ``speaker`` reaches ``hearer``. Pubsub keeps nothing for who comes late, so a line is said again until it is heard."""
        for attempt in range(int(LIMIT)):
            said = f"{words} ({attempt})"
            speaker.say(said)
            if hearer.hear(said, seconds=1):
                return
        self.fail(f"{hearer.name} did not hear {speaker.name}; it printed:\n" + "\n".join(hearer.seen))

    def test_both_hear_each_other(self):
        for first, second in itertools.product(LANGUAGES, LANGUAGES):
            with self.subTest(first=first, second=second), Program(first, "chat") as one:
                with Program(second, "chat", "--listen", "/ip4/127.0.0.1/tcp/0", one.address("/tcp/")) as other:
                    other.address("/tcp/")
                    self.heard(one, other, "grüße from the first")
                    self.heard(other, one, "and from the second")

    def test_the_third_hears_the_first_through_the_second(self):
        order = list(itertools.islice(itertools.cycle(LANGUAGES), 3))
        with Program(order[0], "chat") as one, Program(order[1], "chat", one.address("/tcp/")) as two:
            with Program(order[2], "chat", two.address("/tcp/")) as three:
                three.address("/tcp/")
                self.heard(one, three, "from one end")
                self.heard(three, one, "to the other")

    def test_ends_with_its_input(self):
        for language in LANGUAGES:
            with self.subTest(language=language), Program(language, "chat") as one:
                one.address("/tcp/")
                one.process.stdin.close()
                self.assertEqual(one.process.wait(LIMIT), 0)


if __name__ == "__main__":
    unittest.main()
