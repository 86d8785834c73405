"""`make install` into an empty folder is all that a C program needs, by pkg-config and by CMake.

The tree is installed with DESTDIR and then moved to its PREFIX's place by pkg-config's sysroot and by CMake's relative paths, as a packager does.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PREFIX = "/opt/libp2pgo"
EXAMPLES = ("echo", "request", "chat")


def run(*command, **extra):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **extra})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="libp2pgo-install-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.destdir = cls.folder / "root"
        cls.installed = cls.destdir / PREFIX.lstrip("/")
        run("make", "-C", str(ROOT), "install", f"PREFIX={PREFIX}", f"DESTDIR={cls.destdir}")

    def usage(self, program):
        """The program starts, which needs the library, and tells its usage."""
        done = subprocess.run(
            [str(program), "--no-such-option"], stderr=subprocess.PIPE, text=True, env={**os.environ, "LD_LIBRARY_PATH": str(self.installed / "lib")}
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage:", done.stderr)

    def test_files(self):
        version = run("pkg-config", "--modversion", str(self.installed / "lib/pkgconfig/libp2pgo.pc")).strip()
        files = {str(p.relative_to(self.installed)) for p in self.installed.rglob("*") if not p.is_dir()}
        wanted = {
            "include/libp2p.h", "lib/libp2pgo.so", "lib/libp2pgo.so.1", f"lib/libp2pgo.so.{version}", "lib/pkgconfig/libp2pgo.pc",
            "lib/cmake/libp2pgo/libp2pgo-config.cmake", "lib/cmake/libp2pgo/libp2pgo-config-version.cmake",
        }
        self.assertLessEqual(wanted, files)
        self.assertEqual([f for f in files - wanted if not f.startswith("share/doc/libp2pgo/")], [])
        self.assertTrue(any("LICENSE" in f for f in files))

    def test_links_are_relative_and_lead_to_the_library(self):
        for name in ("libp2pgo.so", "libp2pgo.so.1"):
            link = self.installed / "lib" / name
            self.assertTrue(link.is_symlink())
            self.assertNotIn("/", os.readlink(link))
            self.assertTrue(link.resolve().samefile(self.installed / "lib" / name))

    def test_nothing_names_the_destdir_or_the_build_tree(self):
        for path in [self.installed / "lib/pkgconfig/libp2pgo.pc", *self.installed.glob("lib/cmake/libp2pgo/*")]:
            text = path.read_text()
            self.assertNotIn("@", text, path.name)
            self.assertNotIn(str(self.destdir), text, path.name)
            self.assertNotIn(str(ROOT), text, path.name)

    def test_examples_build_with_pkg_config(self):
        paths = {"PKG_CONFIG_PATH": str(self.installed / "lib/pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(self.destdir)}
        for name in EXAMPLES:
            with self.subTest(example=name):
                program = self.folder / name
                run("sh", "-ec", f"cc -Wall -Wextra -Werror {ROOT}/examples/{name}/{name}.c $(pkg-config --cflags --libs libp2pgo) -o {program}", **paths)
                if name != "chat":
                    self.usage(program)

    def test_examples_build_with_cmake(self):
        if not shutil.which("cmake"):
            self.skipTest("cmake is not installed")
        project = self.folder / "project"
        project.mkdir()
        lines = ["cmake_minimum_required(VERSION 3.13)", "project(user C)", "find_package(libp2pgo 0.1 REQUIRED)"]
        for name in EXAMPLES:
            lines += [f"add_executable({name} {ROOT}/examples/{name}/{name}.c)", f"target_link_libraries({name} libp2pgo::libp2pgo)"]
        (project / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
        run("cmake", "-S", str(project), "-B", str(project / "build"), f"-DCMAKE_PREFIX_PATH={self.installed}")
        run("cmake", "--build", str(project / "build"))
        self.usage(project / "build" / "echo")

    def test_cmake_refuses_a_version_that_is_not_there_yet(self):
        if not shutil.which("cmake"):
            self.skipTest("cmake is not installed")
        project = self.folder / "later"
        project.mkdir()
        (project / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.13)\nproject(user C)\nfind_package(libp2pgo 99 REQUIRED)\n")
        with self.assertRaises(AssertionError):
            run("cmake", "-S", str(project), "-B", str(project / "build"), f"-DCMAKE_PREFIX_PATH={self.installed}")

    def test_can_be_installed_over_itself(self):
        run("make", "-C", str(ROOT), "install", f"PREFIX={PREFIX}", f"DESTDIR={self.destdir}")
        self.assertEqual([p.name for p in (self.installed / "lib").glob(".*")], [])


if __name__ == "__main__":
    unittest.main()
