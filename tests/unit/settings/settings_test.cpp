#include "settings/settings.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad;
using namespace vmad::settings;

namespace {

/// A settings file that is gone with the object.
class SettingsFile {
  public:
    explicit SettingsFile(const std::string& text) {
        char name[] = "/tmp/vmad-settings-XXXXXX";
        const int fd = ::mkstemp(name);
        REQUIRE(fd >= 0);
        ::close(fd);
        path_ = name;
        std::ofstream(path_) << text;
    }
    SettingsFile(const SettingsFile&) = delete;
    SettingsFile& operator=(const SettingsFile&) = delete;
    ~SettingsFile() { ::unlink(path_.c_str()); }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

Settings load_text(const std::string& text) { return load(SettingsFile(text).path()); }

/// The message of the UsageError, with the path of the file left out; "" when there was none.
std::string mistake(const std::string& text) {
    const SettingsFile file(text);
    try {
        (void)load(file.path());
        return "";
    } catch (const base::UsageError& error) {
        const std::string message = error.what();
        REQUIRE(message.starts_with(file.path() + ':'));
        return message.substr(file.path().size() + 1);
    }
}

/// The shipped file with the settings in it, but not the prose, made effective.
std::string uncommented_shipped_file() {
    std::ifstream shipped(VMAD_SHIPPED_SETTINGS);
    REQUIRE(shipped);
    std::string text;
    for (std::string line; std::getline(shipped, line);) {
        const bool setting = line.size() > 1 && line[0] == '#' && line[1] != ' ';
        text += (setting ? line.substr(1) : line) + '\n';
    }
    return text;
}

const std::string kSocketText = "/" + std::string(106, 's');

}  // namespace

TEST_CASE("every mistake is named with its place and what to write instead") {
    const std::string any_path = "write an absolute path in quotes";
    const std::string range = "write a whole number from 1 to 64";
    const std::string size = "write a size from \"16M\" to \"64G\"";
    const std::string keys =
        "the keys are directories, memory, socket, spill_dir, state_dir, threads, workers, zstd_level";
    const struct {
        std::string text;
        std::string message;
    } table[] = {
        {"worker = 1", "1:1: unknown key \"worker\"; write \"workers\""},
        {"\n  Workers = 1", "2:3: unknown key \"Workers\"; write \"workers\""},
        {"state-dir = '/x'", "1:1: unknown key \"state-dir\"; write \"state_dir\""},
        {"dirs = []", "1:1: unknown key \"dirs\"; " + keys},
        {"\"\" = 1", "1:1: unknown key \"\"; " + keys},
        {"\"a\\u0007\\\"\" = 1", "1:1: unknown key \"a\\u0007\\\"\"; " + keys},
        {"[limits]\nbandwidth = 1", "2:1: unknown key \"limits.bandwidth\"; " + keys},
        {"[limits]", "1:2: unknown key \"limits\"; " + keys},
        {"socket.path = '/x'", "1:8: unknown key \"socket.path\"; " + keys},
        {"workers = 0", "1:11: workers is 0; " + range},
        {"workers = 65", "1:11: workers is 65; " + range},
        {"workers = -9223372036854775808", "1:11: workers is -9223372036854775808; " + range},
        {"workers = \"2\"", "1:11: workers is a text; " + range},
        {"workers = 2.0", "1:11: workers is a number with a fraction; " + range},
        {"workers = nan", "1:11: workers is a number with a fraction; " + range},
        {"workers = true", "1:11: workers is true or false; " + range},
        {"workers = [1]", "1:11: workers is a list; " + range},
        {"workers = 2024-01-01", "1:11: workers is a date or a time; " + range},
        {"[workers]", "1:1: workers is a table; " + range},
        {"socket = 1", "1:10: socket is a whole number; " + any_path},
        {"socket = 'vmad.sock'",
         "1:10: socket is \"vmad.sock\", which is not an absolute path; write a path that begins with \"/\""},
        {"socket = ''",
         "1:10: socket is \"\", which is not an absolute path; write a path that begins with \"/\""},
        {"socket = '" + kSocketText + "s'", "1:10: socket has 108 bytes; write a path of at most 107 bytes"},
        {"state_dir = '/a/../b'",
         "1:13: state_dir is \"/a/../b\", which has \"..\" in it; write the path that it stands for"},
        {"state_dir = '/a/.'",
         "1:13: state_dir is \"/a/.\", which has \".\" in it; write the path that it stands for"},
        {"state_dir = \"/a\\u0000b\"",
         "1:13: state_dir is \"/a\\u0000b\", which has a NUL in it; write a path without it"},
        {"state_dir = '/" + std::string(4095, 'a') + "'",
         "1:13: state_dir has 4096 bytes; write a path of at most 4095 bytes"},
        {"directories = '/a'",
         "1:15: directories is a text; write a list of absolute paths in brackets: [\"/…\"]"},
        {"directories = [\n  '/a',\n  1]", "3:3: entry 2 of directories is a whole number; " + any_path},
        {"directories = ['/a', ['/b']]", "1:22: entry 2 of directories is a list; " + any_path},
        {"directories = ['a']",
         "1:16: entry 1 of directories is \"a\", which is not an absolute path; write a path that begins "
         "with "
         "\"/\""},
        {"[[directories]]", "1:1: entry 1 of directories is a table; " + any_path},
        {"memory = 1", "1:10: memory is a whole number; " + size},
        {"memory = '15M'", "1:10: memory is \"15M\"; " + size},
        {"memory = '65G'", "1:10: memory is \"65G\"; " + size},
        {"memory = '1 MiB'", "1:10: memory is \"1 MiB\"; " + size},
        {"memory = '99999999999999999999'", "1:10: memory is \"99999999999999999999\"; " + size},
        {"threads = 65", "1:11: threads is 65; write a whole number from 0 to 64"},
        {"zstd_level = 0", "1:14: zstd_level is 0; write a whole number from 1 to 19"},
        {"zstd_level = 20", "1:14: zstd_level is 20; write a whole number from 1 to 19"},
        {"spill_dir = 'tmp'",
         "1:13: spill_dir is \"tmp\", which is not an absolute path; write a path that begins with \"/\""},
        // The first of several mistakes.
        {"workers = 0\nbogus = 1\ndirectories = 1", "1:11: workers is 0; " + range},
        {"xyzzy = 1\nabc = 1", "1:1: unknown key \"xyzzy\"; " + keys},
    };
    for (const auto& row : table) {
        CAPTURE(row.text);
        CHECK(mistake(row.text) == row.message);
    }
}

TEST_CASE("what is not TOML is refused at its place") {
    const struct {
        std::string text;
        std::string place;
    } table[] = {
        {"workers", "1:8: "},
        {"workers = ", "1:11: "},
        {"workers: 3", "1:8: "},
        {"workers = 1\nworkers = 2", "2:11: "},
        {"socket = /run/vmad.sock", "1:10: "},
        {"socket = \"/run", "1:15: "},
        {"socket = \"/\xff\"", "1:11: "},
        {"directories = ['/a'", "1:20: "},
        {"[workers", "1:9: "},
        {"workers = 99999999999999999999", "1:31: "},
    };
    for (const auto& row : table) {
        CAPTURE(row.text);
        const std::string message = mistake(row.text);
        CHECK(message.starts_with(row.place + "not TOML: "));
        CHECK(message.ends_with("; write each key once, as KEY = VALUE, with texts in quotes"));
    }
}

TEST_CASE("a file that cannot be read is an error, not the defaults") {
    CHECK_THROWS_WITH_AS((void)load("/nonexistent/vmad.toml"),
                         "/nonexistent/vmad.toml: cannot be read: No such file or directory",
                         base::UsageError);
    CHECK_THROWS_WITH_AS((void)load("/tmp"), "/tmp: cannot be read: Is a directory", base::UsageError);
    CHECK_THROWS_WITH_AS((void)load("/dev/zero"), "/dev/zero: cannot be read: larger than 1048576 bytes",
                         base::UsageError);
}

TEST_CASE("values are taken and paths are tidied") {
    const Settings settings = load_text(
        "workers = 64\nsocket = \"" + kSocketText +
        "\"\nstate_dir = '/var//lib/vmad/'\ndirectories = ['/', '/mnt/b\u00e4ckup/', '/a b', '///x///y']\n");
    CHECK(settings.workers == 64);
    const Settings engine = load_text("memory = '1G'\nthreads = 3\nspill_dir = '/x/'\nzstd_level = 19");
    CHECK(engine.memory_bytes == std::uint64_t{1} << 30);
    CHECK(engine.threads == 3);
    CHECK(engine.spill_dir == "/x");
    CHECK(engine.zstd_level == 19);
    CHECK(settings.socket == kSocketText);
    CHECK(settings.state_dir == "/var/lib/vmad");
    CHECK(settings.directories == std::vector<std::string>{"/", "/mnt/b\u00e4ckup", "/a b", "/x/y"});
}

TEST_CASE("each value remembers where it comes from") {
    const SettingsFile file("# nothing\n\nworkers = 2\ndirectories = [\n'/a']\n");
    const Settings settings = load(file.path());
    CHECK(settings.origins.size() == 2);
    CHECK(settings.origins.at("workers") == Origin{file.path(), 3});
    const auto lines = describe(settings);
    for (const auto& line : lines) {
        CAPTURE(line.key);
        const auto* place = line.key == "directories" ? ":4" : line.key == "workers" ? ":3" : nullptr;
        CHECK(line.origin == (place != nullptr ? file.path() + place : "default"));
    }
}

TEST_CASE("what describe prints loads as the same values") {
    const Settings settings = load_text(
        "workers = 7\nsocket = \"/a \\\"b\\\" \\\\ \\u0001\\u007f\"\ndirectories = ['/x', '/\u20ac']");
    std::string text;
    for (const auto& line : describe(settings)) text += std::string(line.key) + " = " + line.value + '\n';
    const Settings again = load_text(text);
    CHECK(again.workers == 7);
    CHECK(again.socket == settings.socket);
    CHECK(again.directories == settings.directories);
}

TEST_CASE("an empty file and the shipped file mean the defaults") {
    CHECK(load_text("").origins.empty());
    CHECK(load(VMAD_SHIPPED_SETTINGS).origins.empty());
}

TEST_CASE("the shipped file documents every key with its default") {
    const Settings uncommented = load_text(uncommented_shipped_file());
    const auto defaults = describe(Settings{});
    const auto documented = describe(uncommented);
    REQUIRE(documented.size() == defaults.size());
    for (std::size_t i = 0; i < defaults.size(); ++i) {
        CAPTURE(defaults[i].key);
        CHECK(documented[i].origin != "default");
        CHECK(documented[i].value == defaults[i].value);
    }
}
