#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "settings/settings.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::settings;

namespace {

const std::string kVendor = "/usr/lib/vmad/vmad.toml";
const std::string kCluster = "/etc/pve/vmad.toml";
const std::string kNode = "/etc/vmad/vmad.toml";
const std::string kDropIn = "/etc/vmad/vmad.toml.d/";

/// A node with nothing on it, for VMAD_ROOT, while it lives.
class Node {
  public:
    Node() { ::setenv("VMAD_ROOT", root_.path().c_str(), 1); }
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node() { ::unsetenv("VMAD_ROOT"); }

    [[nodiscard]] std::string path(const std::string& path) const { return root_.path() + path; }
    void write(const std::string& file, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(path(file)).parent_path());
        std::ofstream(path(file)) << text;
    }
    void link(const std::string& target, const std::string& file) const {
        std::filesystem::create_directories(std::filesystem::path(path(file)).parent_path());
        std::filesystem::create_symlink(target, path(file));
    }
    /// With the root left out of it.
    [[nodiscard]] std::string origin(const std::string& key) const {
        for (const auto& line : describe(load_standard().settings))
            if (line.key == key) return shown(line.origin);
        return "no such key";
    }
    /// The message of the UsageError; "" when there was none.
    [[nodiscard]] std::string mistake() const {
        try {
            (void)load_standard();
            return "";
        } catch (const base::UsageError& error) {
            return shown(error.what());
        }
    }
    [[nodiscard]] std::string shown(const std::string& text) const {
        return text.starts_with(root_.path()) ? text.substr(root_.path().size()) : text;
    }

  private:
    support::TemporaryDirectory root_;
};

}  // namespace

TEST_CASE("without any file there are the defaults") {
    const Node node;
    CHECK(load_standard().settings == Settings{});
    CHECK(load_standard().warnings.empty());
    node.write(kDropIn + "README", "");
    CHECK(load_standard().settings == Settings{});
}

TEST_CASE("later files win, key by key") {
    const Node node;
    // In the order in which they are read; each sets "workers" and one key more.
    const std::pair<std::string, std::string> files[] = {
        {kVendor, "keep_days"},
        {kCluster, "keep_jobs"},
        {kNode, "zstd_level"},
        {kDropIn + "10-b.toml", "threads"},
        {kDropIn + "9-a.toml", "threads"},
        {kDropIn + "B.toml", "threads"},
        {kDropIn + "a.toml", "threads"},
    };
    std::string threads = "default";
    for (std::size_t i = 0; i < std::size(files); ++i) {
        const auto& [file, key] = files[i];
        const std::string value = std::to_string(i + 1);
        node.write(file, "workers = " + value + "\n" + key + " = " + value + "\n");
        if (key == "threads") threads = file + ":2";
        CHECK(load_standard().settings.workers == i + 1);
        CHECK(node.origin("workers") == file + ":1");
        CHECK(node.origin("threads") == threads);
    }
    const Settings settings = load_standard().settings;
    CHECK(settings.keep_days == 1);
    CHECK(settings.keep_jobs == 2);
    CHECK(settings.zstd_level == 3);
    CHECK(settings.threads == 7);
    CHECK(node.origin("keep_days") == kVendor + ":2");
    CHECK(node.origin("keep_jobs") == kCluster + ":2");
    CHECK(node.origin("zstd_level") == kNode + ":2");
    CHECK(node.origin("memory") == "default");
    CHECK(settings.origins.at("workers") == Origin{node.path(kDropIn + "a.toml"), 1});
    CHECK(settings.origins.size() == 5);
}

TEST_CASE("a later list replaces an earlier one, and a later none takes back") {
    const Node node;
    node.write(kVendor,
               "directories = ['/a', '/b']\non_failure = ['/bin/a', 'b']\nstart_window = '22:00-06:00'\n"
               "metrics_file = '/m'\nbwlimit = '1M'\nreserve = '1G'");
    node.write(kNode,
               "directories = ['/c']\non_failure = []\nstart_window = ''\nmetrics_file = ''\nbwlimit = '0'\n"
               "reserve = 'auto'");
    Settings settings = load_standard().settings;
    CHECK(settings.directories == std::vector<std::string>{"/c"});
    settings.directories.clear();
    settings.origins.clear();
    CHECK(settings == Settings{});
}

TEST_CASE("only files called *.toml are drop-ins") {
    const Node node;
    for (const auto* name :
         {".hidden.toml", ".toml", "a.toml~", "a.toml.dpkg-old", "a.TOML", "toml", "a.conf"})
        node.write(kDropIn + name, "not TOML");
    std::filesystem::create_directories(node.path(kDropIn + "directory.toml"));
    REQUIRE(::mkfifo(node.path(kDropIn + "fifo.toml").c_str(), 0600) == 0);
    node.link("/dev/null", kDropIn + "masked.toml");
    node.link("nowhere", kDropIn + "dangling.toml");
    node.link("loop.toml", kDropIn + "loop.toml");
    node.link(".", kDropIn + "to-directory.toml");
    CHECK(node.mistake().empty());
    CHECK(load_standard().settings == Settings{});

    node.write("/elsewhere", "workers = 5");
    node.link(node.path("/elsewhere"), kDropIn + "link.toml");
    CHECK(node.origin("workers") == kDropIn + "link.toml:1");
}

TEST_CASE("in the cluster's file an unknown key warns, in the others it is a mistake") {
    for (const auto& file : {kVendor, kNode, kDropIn + "a.toml"}) {
        const Node node;
        node.write(file, "workers = 2\nworker = 3\n[future]\n");
        CHECK(node.mistake() == file + ":2:1: unknown key \"worker\"; write \"workers\"");
    }
    const Node node;
    node.write(kCluster,
               "worker = 3\nworkers = 2\n[future]\nkeep_days = 1\n[future.deep]\n[[list]]\na = 1\n");
    const LoadedSettings standard = load_standard();
    const LoadedSettings alone = load_file(node.path(kCluster));
    for (const auto& loaded : {standard, alone}) {
        CHECK(loaded.settings.workers == 2);
        CHECK(loaded.settings.keep_days == 30);
        CHECK(loaded.settings.origins.size() == 1);
        REQUIRE(loaded.warnings.size() == 4);
        CHECK(node.shown(loaded.warnings[0]) == kCluster + ":1:1: unknown key \"worker\"; write \"workers\"");
        CHECK(node.shown(loaded.warnings[1])
                  .starts_with(kCluster + ":4:1: unknown key \"future.keep_days\"; the keys are "));
        CHECK(node.shown(loaded.warnings[2]).starts_with(kCluster + ":5:9: unknown key \"future.deep\"; "));
        CHECK(node.shown(loaded.warnings[3]).starts_with(kCluster + ":6:3: unknown key \"list\"; "));
    }
    // Later files are read all the same.
    node.write(kNode, "workers = 4");
    CHECK(load_standard().settings.workers == 4);
    CHECK(load_standard().warnings.size() == 4);
}

TEST_CASE("a bad value is a mistake in every file, also where a later one overrides it") {
    for (const auto& file : {kVendor, kCluster, kNode, kDropIn + "a.toml"}) {
        const std::pair<std::string, std::string> table[] = {
            {"workers = 0", ":1:11: workers is 0; write an integer from 1 to 64"},
            {"socket.path = '/x'", ":1:1: socket is a table; write an absolute path in quotes"},
            {"\nreserve = 'a'", ":2:11: reserve is \"a\"; write \"auto\" or a size from \"0\" to \"65536G\""},
        };
        for (const auto& [text, message] : table) {
            const Node node;
            node.write(file, text);
            node.write(kDropIn + "z.toml", "workers = 1\nreserve = '1G'\nsocket = '/x'");
            CAPTURE(file);
            CAPTURE(text);
            CHECK(node.mistake() == file + message);
        }
        const Node node;
        node.write(file, "workers = ");
        CHECK(node.mistake().starts_with(file + ":1:11: not TOML: "));
    }
}

TEST_CASE("a bad value after what only warns is a mistake still") {
    const Node node;
    node.write(kCluster, "of_the_future = 1\nworkers = 0\nworker = 1");
    CHECK(node.mistake() == kCluster + ":2:11: workers is 0; write an integer from 1 to 64");
}

TEST_CASE("the first file with a mistake is named") {
    const Node node;
    node.write(kDropIn + "a.toml", "a");
    CHECK(node.mistake().starts_with(kDropIn + "a.toml:1:2: not TOML: "));
    node.write(kNode, "zzzzzzz = 1");
    CHECK(node.mistake().starts_with(kNode + ":1:1: unknown key \"zzzzzzz\"; the keys are bwlimit, "));
    node.write(kVendor, "socket = 1");
    CHECK(node.mistake() == kVendor + ":1:10: socket is an integer; write an absolute path in quotes");
}

TEST_CASE("a file that is there but cannot be read is an error") {
    for (const auto& file : {kVendor, kCluster, kNode}) {
        const Node node;
        std::filesystem::create_directories(node.path(file));
        CHECK(node.mistake() == file + ": cannot be read: Is a directory");
    }
    const Node node;
    node.write(kDropIn + "a.toml", std::string((1 << 20) + 1, '#'));
    CHECK(node.mistake() == kDropIn + "a.toml: cannot be read: larger than 1048576 bytes");
    node.write(kDropIn + "a.toml", std::string(1 << 20, '#'));
    CHECK(node.mistake().empty());
    node.link("b", "/usr/lib/vmad");  // a loop instead of the directory
    node.link("vmad", "/usr/lib/b");
    CHECK(node.mistake() == kVendor + ": cannot be read: Too many levels of symbolic links");
}

TEST_CASE("a directory of drop-ins that is none or cannot be read") {
    const Node node;
    node.write("/etc/vmad/vmad.toml.d", "a file");
    CHECK(node.mistake().empty());
    std::filesystem::remove(node.path("/etc/vmad/vmad.toml.d"));
    node.link("vmad.toml.d", "/etc/vmad/vmad.toml.d");
    CHECK(node.mistake() == "/etc/vmad/vmad.toml.d: cannot be read: Too many levels of symbolic links");
}

TEST_CASE("the daemon is found whatever mistakes its settings have elsewhere") {
    const Node node;
    const auto places = [] {
        const Places found;
        return found.socket() + " " + found.state_dir();
    };
    CHECK(places() == "/run/vmad/vmad.sock /var/lib/vmad");
    const std::string good = "socket = \"/s\"\nstate_dir = \"/a//b/\"\n";
    for (const auto& text :
         {good, "workers = 0\nunknown = 1\n" + good, good + "on_failure = \"x\n[a\nbwlimit = 1G\n",
          "[a\n\n'\n" + good, good + "state_dir = \"/twice\"\n", good + "workers = \"\"\"\n"}) {
        CAPTURE(text);
        node.write(kNode, text);
        CHECK(places() == "/s /a/b");
    }
    node.write(kDropIn + "1.toml", "socket = \"/later\"\n");
    CHECK(places() == "/later /a/b");
}

TEST_CASE("a file that cannot be read hides the state directory, but not the daemon") {
    const Node node;
    node.write(kVendor, "socket = \"/s\"\nstate_dir = \"/a\"\n");
    std::filesystem::create_directories(node.path(kNode));
    CHECK(Places().socket() == "/s");
    CHECK_THROWS_WITH_AS((void)Places().state_dir(),
                         (node.path(kNode) + ": cannot be read: Is a directory").c_str(), base::UsageError);
    node.write(kDropIn + "1.toml", "state_dir = \"not absolute\"\n");
    CHECK_THROWS_AS((void)Places().state_dir(), base::UsageError);
    std::string bad_lines;
    for (int i = 0; i < 200; ++i) bad_lines += "[\n";
    node.write(kDropIn + "1.toml", bad_lines);
    CHECK_THROWS_WITH_AS(
        (void)Places().state_dir(),
        (node.path(kDropIn + "1.toml") + ": cannot be read: too much in it is not TOML").c_str(),
        base::UsageError);
    // What it may set counts no more.
    node.write(kDropIn + "2.toml", "state_dir = \"/b\"\n");
    CHECK(Places().state_dir() == "/b");
    std::filesystem::remove_all(node.path("/etc/vmad/vmad.toml.d"));
    node.link("vmad.toml.d", "/etc/vmad/vmad.toml.d");
    CHECK(Places().socket() == "/s");
    CHECK_THROWS_AS((void)Places().state_dir(), base::UsageError);
}
