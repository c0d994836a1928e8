#include "settings/settings.hpp"

#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "settings_text.hpp"

using namespace vmad;
using namespace vmad::settings;

namespace {

std::vector<std::string> shipped_lines() {
    std::ifstream shipped(VMAD_SHIPPED_SETTINGS);
    REQUIRE(shipped);
    std::vector<std::string> lines;
    for (std::string line; std::getline(shipped, line);) lines.push_back(line);
    return lines;
}

/// "#key = value", where "# prose" has a space.
bool is_setting(const std::string& line) { return line.size() > 1 && line[0] == '#' && line[1] != ' '; }

/// The shipped file with the settings in it, but not the prose, made effective.
std::string uncommented_shipped_file() {
    std::string text;
    for (const auto& line : shipped_lines()) text += (is_setting(line) ? line.substr(1) : line) + '\n';
    return text;
}

const std::string kSocketText = "/" + std::string(106, 's');

// Values that are hard to spell, at the limits, and in between.

std::string random_word(std::mt19937_64& random) {
    const char* parts[] = {"a",    " ", "\"", "\\", "'", "\n",     "\t",         "\x01",
                           "\x7f", "#", "=",  "]",  ",", "\u20ac", "\U0001F4BE", "%s"};
    std::string word;
    for (auto count = random() % 6; count > 0; --count) word += parts[random() % std::size(parts)];
    return word;
}

std::string random_path(std::mt19937_64& random) {
    std::string path;
    for (auto count = random() % 4; count > 0; --count) path += "/x" + random_word(random);
    return path.empty() ? "/" : path;
}

std::vector<std::string> random_command(std::mt19937_64& random) {
    std::vector<std::string> words;
    for (auto count = random() % 4; count > 0; --count)
        words.push_back(words.empty() ? random_path(random) : random_word(random));
    return words;
}

/// From `least` to `most`, of any magnitude, and often one of the two.
template <typename Number>
Number random_number(std::mt19937_64& random, Number least, Number most) {
    const std::uint64_t span = static_cast<std::uint64_t>(most) - static_cast<std::uint64_t>(least);
    switch (random() % 8) {
        case 0:
            return least;
        case 1:
            return most;
        default:
            return static_cast<Number>(static_cast<std::uint64_t>(least) +
                                       (random() >> (random() % 64)) % (span + 1));
    }
}

StartWindow random_window(std::mt19937_64& random) {
    const auto begin = random_number<unsigned>(random, 0, 1439);
    return {begin, (begin + random_number<unsigned>(random, 1, 1439)) % 1440};
}

Settings random_settings(std::mt19937_64& random) {
    Settings settings;
    settings.socket = random_path(random);
    settings.state_dir = random_path(random);
    for (auto count = random() % 4; count > 0; --count) settings.directories.push_back(random_path(random));
    settings.workers = random_number<unsigned>(random, 1, 64);
    settings.threads = random_number<unsigned>(random, 0, 64);
    settings.memory_bytes = random_number<std::uint64_t>(random, 16 << 20, std::uint64_t{64} << 30);
    settings.spill_dir = random_path(random);
    settings.zstd_level = random_number(random, 1, 19);
    if (random() % 4 != 0)
        settings.bwlimit_bytes_per_second =
            random_number<std::uint64_t>(random, 64 << 10, std::uint64_t{1} << 40);
    if (random() % 4 != 0)
        settings.reserve_bytes = random_number<std::uint64_t>(random, 0, std::uint64_t{64} << 40);
    if (random() % 4 != 0) settings.start_window = random_window(random);
    settings.defer_while_vzdump_runs = random() % 2 != 0;
    settings.grace_period_seconds = random_number<std::int64_t>(random, 0, 86400);
    settings.keep_days = random_number<unsigned>(random, 0, 3650);
    settings.keep_jobs = random_number<unsigned>(random, 1, 100'000);
    if (random() % 4 != 0) settings.metrics_file = random_path(random);
    settings.on_success = random_command(random);
    settings.on_failure = random_command(random);
    settings.command_timeout_seconds = random_number<std::int64_t>(random, 1, 86400);
    if (random() % 2 != 0) settings.share_blocks = ShareBlocks::off;
    settings.verify_source = static_cast<base::VerifySource>(random() % 3);
    if (random() % 2 != 0) settings.notify = Notify::proxmox;
    if (random() % 4 != 0)
        settings.verify_every_seconds =
            random_number<std::int64_t>(random, 86400, 3650 * std::int64_t{86400});
    if (random() % 4 != 0) settings.verify_window = random_window(random);
    if (random() % 4 != 0)
        settings.verify_bwlimit_bytes_per_second =
            random_number<std::uint64_t>(random, 64 << 10, std::uint64_t{1} << 40);
    return settings;
}

}  // namespace

TEST_CASE("every mistake is named with its place and what to write instead") {
    const std::string any_path = "write an absolute path in quotes";
    const std::string range = "write an integer from 1 to 64";
    const std::string size = "write a size from \"16M\" to \"64G\"";
    const std::string keys =
        "the keys are bwlimit, command_timeout, defer_while_vzdump_runs, directories, grace_period, "
        "keep_days, "
        "keep_jobs, memory, metrics_file, notify, on_failure, on_success, reserve, share_blocks, socket, "
        "spill_dir, start_window, state_dir, threads, verify_bwlimit, verify_every, verify_source, "
        "verify_window, workers, "
        "zstd_level";
    const std::string bwlimit = "write \"0\" or a size from \"64K\" to \"1024G\"";
    const std::string reserve = "write \"auto\" or a size from \"0\" to \"65536G\"";
    const std::string grace_period = "write a duration from \"0s\" to \"1d\"";
    const std::string timeout = "write a duration from \"1s\" to \"1d\"";
    const std::string verify_every = "write \"off\" or a duration from \"1d\" to \"3650d\"";
    const std::string verify_bwlimit = "write \"auto\" or a size from \"64K\" to \"1024G\"";
    const std::string truth = "write true or false, without quotes";
    const std::string window =
        "write two times that differ, from 00:00 to 23:59, for example \"22:00-06:00\", or \"\"";
    const std::string program = "write a program and its arguments as an array: [\"/…\", \"…\"]";
    const std::string not_absolute = "which is not an absolute path; write a path that begins with \"/\"";
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
        {"\"socket.path\" = '/x'", "1:1: unknown key \"socket.path\"; " + keys},
        {"socket.path = '/x'", "1:1: socket is a table; " + any_path},
        {"[start_window]\nbegin = 1", "1:1: start_window is a table; " + window},
        {"Bwlimit = '0'", "1:1: unknown key \"Bwlimit\"; write \"bwlimit\""},
        {"on_sucess = []", "1:1: unknown key \"on_sucess\"; write \"on_success\""},
        {"start-window = ''", "1:1: unknown key \"start-window\"; write \"start_window\""},
        {"start_windows = ''", "1:1: unknown key \"start_windows\"; write \"start_window\""},
        {"workers = 0", "1:11: workers is 0; " + range},
        {"workers = 65", "1:11: workers is 65; " + range},
        {"workers = -9223372036854775808", "1:11: workers is -9223372036854775808; " + range},
        {"workers = \"2\"", "1:11: workers is a string; " + range},
        {"workers = 2.0", "1:11: workers is a floating-point number; " + range},
        {"workers = nan", "1:11: workers is a floating-point number; " + range},
        {"workers = true", "1:11: workers is a boolean; " + range},
        {"workers = [1]", "1:11: workers is an array; " + range},
        {"workers = 2024-01-01", "1:11: workers is a date or a time; " + range},
        {"[workers]", "1:1: workers is a table; " + range},
        {"socket = 1", "1:10: socket is an integer; " + any_path},
        {"socket = 'vmad.sock'",
         "1:10: socket is \"vmad.sock\", which is not an absolute path; write a path that begins with \"/\""},
        {"socket = ''",
         "1:10: socket is \"\", which is not an absolute path; write a path that begins with \"/\""},
        {"socket = '" + kSocketText + "s'", "1:10: socket has 108 bytes; write a path of at most 107 bytes"},
        {"state_dir = '/a/../b'",
         "1:13: state_dir is \"/a/../b\", which has \"..\" in it; write the resolved path"},
        {"state_dir = '/a/.'", "1:13: state_dir is \"/a/.\", which has \".\" in it; write the resolved path"},
        {"state_dir = \"/a\\u0000b\"",
         "1:13: state_dir is \"/a\\u0000b\", which contains a NUL; write a path without it"},
        {"state_dir = '/" + std::string(4095, 'a') + "'",
         "1:13: state_dir has 4096 bytes; write a path of at most 4095 bytes"},
        {"directories = '/a'", "1:15: directories is a string; write an array of absolute paths: [\"/…\"]"},
        {"directories = [\n  '/a',\n  1]", "3:3: entry 2 of directories is an integer; " + any_path},
        {"directories = ['/a', ['/b']]", "1:22: entry 2 of directories is an array; " + any_path},
        {"directories = ['a']",
         "1:16: entry 1 of directories is \"a\", which is not an absolute path; write a path that begins "
         "with "
         "\"/\""},
        {"[[directories]]", "1:1: entry 1 of directories is a table; " + any_path},
        {"memory = 1", "1:10: memory is an integer; " + size},
        {"memory = '15M'", "1:10: memory is \"15M\"; " + size},
        {"memory = '65G'", "1:10: memory is \"65G\"; " + size},
        {"memory = '1 MiB'", "1:10: memory is \"1 MiB\"; " + size},
        {"memory = '99999999999999999999'", "1:10: memory is \"99999999999999999999\"; " + size},
        {"threads = 65", "1:11: threads is 65; write an integer from 0 to 64"},
        {"zstd_level = 0", "1:14: zstd_level is 0; write an integer from 1 to 19"},
        {"zstd_level = 20", "1:14: zstd_level is 20; write an integer from 1 to 19"},
        {"spill_dir = 'tmp'",
         "1:13: spill_dir is \"tmp\", which is not an absolute path; write a path that begins with \"/\""},
        {"bwlimit = 0", "1:11: bwlimit is an integer; " + bwlimit},
        {"bwlimit = '65535'", "1:11: bwlimit is \"65535\"; " + bwlimit},
        {"bwlimit = '1025G'", "1:11: bwlimit is \"1025G\"; " + bwlimit},
        {"bwlimit = '200MB/s'", "1:11: bwlimit is \"200MB/s\"; " + bwlimit},
        {"bwlimit = '0K'", "1:11: bwlimit is \"0K\"; " + bwlimit},
        {"bwlimit = ''", "1:11: bwlimit is \"\"; " + bwlimit},
        {"bwlimit = 'auto'", "1:11: bwlimit is \"auto\"; " + bwlimit},
        {"reserve = 0", "1:11: reserve is an integer; " + reserve},
        {"reserve = 'Auto'", "1:11: reserve is \"Auto\"; " + reserve},
        {"reserve = '5%'", "1:11: reserve is \"5%\"; " + reserve},
        {"reserve = '65537G'", "1:11: reserve is \"65537G\"; " + reserve},
        {"reserve = '-1'", "1:11: reserve is \"-1\"; " + reserve},
        {"defer_while_vzdump_runs = 'true'", "1:27: defer_while_vzdump_runs is a string; " + truth},
        {"defer_while_vzdump_runs = 1", "1:27: defer_while_vzdump_runs is an integer; " + truth},
        {"keep_days = -1", "1:13: keep_days is -1; write an integer from 0 to 3650"},
        {"keep_days = 3651", "1:13: keep_days is 3651; write an integer from 0 to 3650"},
        {"keep_days = '30d'", "1:13: keep_days is a string; write an integer from 0 to 3650"},
        {"keep_jobs = 0", "1:13: keep_jobs is 0; write an integer from 1 to 100000"},
        {"keep_jobs = 100001", "1:13: keep_jobs is 100001; write an integer from 1 to 100000"},
        {"keep_jobs = 4294967297", "1:13: keep_jobs is 4294967297; write an integer from 1 to 100000"},
        {"grace_period = 900", "1:16: grace_period is an integer; " + grace_period},
        {"grace_period = 15:00:00", "1:16: grace_period is a date or a time; " + grace_period},
        {"grace_period = '15x'", "1:16: grace_period is \"15x\"; " + grace_period},
        {"grace_period = '2w'", "1:16: grace_period is \"2w\"; " + grace_period},
        {"grace_period = '25h'", "1:16: grace_period is \"25h\"; " + grace_period},
        {"grace_period = '99999999999999999999d'",
         "1:16: grace_period is \"99999999999999999999d\"; " + grace_period},
        {"command_timeout = '0s'", "1:19: command_timeout is \"0s\"; " + timeout},
        {"command_timeout = '86401s'", "1:19: command_timeout is \"86401s\"; " + timeout},
        {"command_timeout = ''", "1:19: command_timeout is \"\"; " + timeout},
        {"command_timeout = 1.5", "1:19: command_timeout is a floating-point number; " + timeout},
        {"metrics_file = false", "1:16: metrics_file is a boolean; " + any_path},
        {"metrics_file = 'vmad.prom'", "1:16: metrics_file is \"vmad.prom\", " + not_absolute},
        {"metrics_file = ' '", "1:16: metrics_file is \" \", " + not_absolute},
        {"metrics_file = '/a/../b'",
         "1:16: metrics_file is \"/a/../b\", which has \"..\" in it; write the resolved path"},
        {"on_success = '/bin/true'", "1:14: on_success is a string; " + program},
        {"on_success = ''", "1:14: on_success is a string; " + program},
        {"on_success = ['true']", "1:15: entry 1 of on_success is \"true\", " + not_absolute},
        {"on_success = ['']", "1:15: entry 1 of on_success is \"\", " + not_absolute},
        {"on_success = [\"/a\\u0000b\"]",
         "1:15: entry 1 of on_success is \"/a\\u0000b\", which contains a NUL; write a path without it"},
        {"on_failure = [1]", "1:15: entry 1 of on_failure is an integer; " + any_path},
        {"on_failure = ['/a', 1]", "1:21: entry 2 of on_failure is an integer; write a string in quotes"},
        {"on_failure = ['/a', ['b']]", "1:21: entry 2 of on_failure is an array; write a string in quotes"},
        {"on_failure = [\n'/a',\n'',\n\"b\\u0000\"]",
         "4:1: entry 3 of on_failure is \"b\\u0000\", which contains a NUL; write a string without it"},
        {"start_window = true", "1:16: start_window is a boolean; " + window},
        {"start_window = 22:00:00", "1:16: start_window is a date or a time; " + window},
        {"start_window = '22:00'", "1:16: start_window is \"22:00\"; " + window},
        {"start_window = '18:00-24:00'", "1:16: start_window is \"18:00-24:00\"; " + window},
        {"start_window = '06:00-06:00'", "1:16: start_window is \"06:00-06:00\"; " + window},
        {"start_window = ['22:00-06:00']", "1:16: start_window is an array; " + window},
        {"verify_every = 30", "1:16: verify_every is an integer; " + verify_every},
        {"verify_every = 'never'", "1:16: verify_every is \"never\"; " + verify_every},
        {"verify_every = '23h'", "1:16: verify_every is \"23h\"; " + verify_every},
        {"verify_every = '3651d'", "1:16: verify_every is \"3651d\"; " + verify_every},
        {"verify_window = 'noon'", "1:17: verify_window is \"noon\"; " + window},
        {"verify_bwlimit = '0'", "1:18: verify_bwlimit is \"0\"; " + verify_bwlimit},
        {"share_blocks = true", "1:16: share_blocks is a boolean; write \"auto\" or \"off\""},
        {"verify_source = true", "1:17: verify_source is a boolean; write \"auto\", \"always\" or \"off\""},
        {"share_blocks = 'on'", "1:16: share_blocks is \"on\"; write \"auto\" or \"off\""},
        {"notify = 'mail'", "1:10: notify is \"mail\"; write \"off\" or \"proxmox\""},
        // The first of several mistakes.
        {"workers = 0\nbogus = 1\ndirectories = 1", "1:11: workers is 0; " + range},
        {"xyzzy = 1\nabc = 1", "1:1: unknown key \"xyzzy\"; " + keys},
    };
    for (const auto& row : table) {
        CAPTURE(row.text);
        CHECK(mistake(row.text) == row.message);
    }
}

TEST_CASE("what is not TOML is refused at its place, in one line") {
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
        {"workers = tru\nthreads = 1", "1:14: "},
    };
    for (const auto& row : table) {
        CAPTURE(row.text);
        const std::string message = mistake(row.text);
        CHECK(message.starts_with(row.place + "not TOML: "));
        CHECK(message.ends_with("; write each key once, as KEY = VALUE, with strings in quotes"));
        CHECK(message.find('\n') == message.npos);
    }
}

TEST_CASE("a file that cannot be read is an error, not the defaults") {
    CHECK_THROWS_WITH_AS((void)load_file("/nonexistent/vmad.toml"),
                         "/nonexistent/vmad.toml: cannot be read: No such file or directory",
                         base::UsageError);
    CHECK_THROWS_WITH_AS((void)load_file("/tmp"), "/tmp: cannot be read: Is a directory", base::UsageError);
    CHECK_THROWS_WITH_AS((void)load_file("/dev/zero"), "/dev/zero: cannot be read: larger than 1048576 bytes",
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
    const Settings daemon = load_text(
        "bwlimit = '64K'\nreserve = '0'\ndefer_while_vzdump_runs = false\nkeep_days = 0\nkeep_jobs = 100000\n"
        "grace_period = '0s'\ncommand_timeout = '24 h'\nmetrics_file = '/x//y.prom'\nstart_window = "
        "'22:00-06:30'\n"
        "on_success = ['//bin/a', '', '../b ']\non_failure = []\n");
    CHECK(daemon.bwlimit_bytes_per_second == 65536);
    CHECK(daemon.reserve_bytes == 0);
    CHECK_FALSE(daemon.defer_while_vzdump_runs);
    CHECK(daemon.keep_days == 0);
    CHECK(daemon.keep_jobs == 100'000);
    CHECK(daemon.grace_period_seconds == 0);
    CHECK(daemon.command_timeout_seconds == 86400);
    CHECK(daemon.metrics_file == "/x/y.prom");
    CHECK(daemon.start_window == StartWindow{22 * 60, 6 * 60 + 30});
    CHECK(daemon.on_success == std::vector<std::string>{"/bin/a", "", "../b "});
    CHECK(daemon.on_failure.empty());
    CHECK_FALSE(load_text("reserve = 'auto'").reserve_bytes);
    CHECK_FALSE(load_text("start_window = ''").start_window);
    CHECK(load_text("metrics_file = ''").metrics_file.empty());
    CHECK(load_text("bwlimit = '1024G'").bwlimit_bytes_per_second == std::uint64_t{1} << 40);
    CHECK(settings.socket == kSocketText);
    CHECK(settings.state_dir == "/var/lib/vmad");
    CHECK(settings.directories == std::vector<std::string>{"/", "/mnt/b\u00e4ckup", "/a b", "/x/y"});
}

TEST_CASE("each value remembers where it comes from") {
    const SettingsFile file("# nothing\n\nworkers = 2\ndirectories = [\n'/a']\n");
    const Settings settings = load_file(file.path()).settings;
    CHECK(settings.origins.size() == 2);
    CHECK(settings.origins.at("workers") == Origin{file.path(), 3});
    const auto lines = describe(settings);
    for (const auto& line : lines) {
        CAPTURE(line.key);
        const auto* place = line.key == "directories" ? ":4" : line.key == "workers" ? ":3" : nullptr;
        CHECK(line.origin == (place != nullptr ? file.path() + place : "default"));
    }
}

TEST_CASE("law: what describe prints loads as the same settings") {
    std::mt19937_64 random(1);
    for (int i = 0; i < 300; ++i) {
        const Settings settings = random_settings(random);
        std::string text;
        for (const auto& line : describe(settings)) text += fmt::format("{} = {}\n", line.key, line.value);
        CAPTURE(text);
        Settings again = load_text(text);
        CHECK(again.origins.size() == describe(settings).size());
        again.origins.clear();
        CHECK(again == settings);
    }
}

TEST_CASE("every key tells its origin, in alphabetical order") {
    std::string text;
    for (const auto& line : describe(Settings{})) text += fmt::format("\n{} = {}\n", line.key, line.value);
    const SettingsFile file(text);
    const Settings settings = load_file(file.path()).settings;
    unsigned place = 0;
    std::string_view before;
    for (const auto& line : describe(settings)) {
        CAPTURE(line.key);
        CHECK(before < line.key);
        before = line.key;
        CHECK(line.origin == fmt::format("{}:{}", file.path(), place += 2));
    }
}

TEST_CASE("an empty file and the shipped file mean the defaults") {
    CHECK(load_text("") == Settings{});
    CHECK(load_file(VMAD_SHIPPED_SETTINGS).settings == Settings{});
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

TEST_CASE("the shipped file says what each key is for, and which files are read") {
    std::string before;
    std::string prose;
    for (const auto& line : shipped_lines()) {
        CAPTURE(line);
        CHECK(line.size() <= 120);
        CHECK((line.empty() || line[0] == '#'));
        if (is_setting(line)) CHECK(before.starts_with('#'));
        before = line;
        prose += line + '\n';
    }
    for (const auto* name :
         {"/usr/lib/vmad/vmad.toml ", "/etc/pve/vmad.toml ", "/etc/vmad/vmad.toml ",
          "/etc/vmad/vmad.toml.d/*.toml ", "\"vmactl settings check\"", "\"vmactl reload\""})
        CHECK(prose.find(name) != prose.npos);
}
