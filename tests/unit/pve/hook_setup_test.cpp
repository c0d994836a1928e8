#include "pve/hook_setup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
#include "io/temporary_name.hpp"
#include "pve/vzdump_config.hpp"
#include "support/fault_file_system.hpp"
#include "support/random.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::pve;
using support::Call;
using support::FaultFileSystem;
using support::TemporaryDirectory;

namespace {

const std::string kConfig = "etc/vzdump.conf";
const std::string kBackup = "etc/vzdump.conf.before-vmad";
const std::string kLink = "etc/vmad/hook.d/00-vzdump-script";

/// A node with an installed vmad, and scripts of an administrator.
struct Node {
    TemporaryDirectory root{TemporaryDirectory::fast_base()};
    FaultFileSystem fs;

    Node() {
        std::filesystem::create_directories(root / "etc/vmad");
        std::filesystem::create_directories(root / "opt");
        add_script("etc/vmad/vzdump-hook", "#!/bin/sh\n# runs /etc/vmad/hook.d\n");
        add_script("opt/a.sh");
        add_script("opt/b.sh");
    }
    void add_script(const std::string& name, const std::string& text = "#!/bin/sh\n") const {
        root.write(name, text);
        REQUIRE(::chmod((root / name).c_str(), 0755) == 0);
    }
    HookChange enable() { return enable_hook(HookNode(fs, root.path())); }
    HookChange disable() { return disable_hook(HookNode(fs, root.path())); }
    [[nodiscard]] std::optional<std::string> config() const {
        return root.has(kConfig) ? std::optional(root.read(kConfig)) : std::nullopt;
    }
    [[nodiscard]] std::string link() const {
        std::error_code none;
        return std::filesystem::read_symlink(root / kLink, none).string();
    }
    /// vzdump runs this script, by itself or by the hook.
    [[nodiscard]] bool runs(const std::string& script) {
        fs.before = nullptr;
        const HookNode node(fs, root.path());
        if (node.script() == script) return true;
        return node.script() == kHookScript && (link() == script || node.is_in_hook_directory(script));
    }
    [[nodiscard]] bool has_leftovers() const {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(root.path()))
            if (io::is_temporary_name(entry.path().filename().string())) return true;
        return false;
    }
};

/// What /etc/vzdump.conf may hold; nothing when it is missing.
const std::optional<std::string> kConfigs[] = {
    std::nullopt,
    "",
    "# comment\ntmpdir: /tmp\n",
    "tmpdir: /tmp",
    "script: /opt/a.sh\n",
    "a: b\r\n script:\t/opt/b.sh \r\nscript: /opt/a.sh\r\n# end",
    "script: /opt/missing.sh\n",
    "script: /etc/vmad/vzdump-hook\nscript:\n",
};

}  // namespace

TEST_CASE("law: what was enabled is disabled to the byte, and keeps what it carries") {
    for (const auto& config : kConfigs) {
        CAPTURE(config.value_or("(none)"));
        Node node;
        if (config) {
            node.root.write(kConfig, *config);
            REQUIRE(::chmod((node.root / kConfig).c_str(), 0640) == 0);
        }
        const std::string before(pve::vzdump_script(config.value_or("")));
        const auto enabled = node.enable();
        CHECK(enabled.changed);
        CHECK(enabled.earlier == before);
        CHECK(enabled.linked == !before.empty());
        CHECK(pve::vzdump_script(node.config().value()) == kHookScript);
        CHECK(node.link() == before);
        CHECK(node.root.has(kBackup) == config.has_value());
        if (config) CHECK(node.root.read(kBackup) == *config);
        struct stat status {};
        REQUIRE(::stat((node.root / kConfig).c_str(), &status) == 0);
        CHECK((status.st_mode & 07777) == (config ? 0640 : 0644));

        const auto enabled_text = node.config();
        CHECK_FALSE(node.enable().changed);
        CHECK(node.config() == enabled_text);

        const auto disabled = node.disable();
        CHECK(disabled.changed);
        CHECK(disabled.earlier == before);
        CHECK(disabled.removed_file == !config);
        CHECK(node.config() == config);
        CHECK(node.link().empty());
        if (config) {
            REQUIRE(::stat((node.root / kConfig).c_str(), &status) == 0);
            CHECK((status.st_mode & 07777) == 0640);
        }
        CHECK_FALSE(node.disable().changed);
        CHECK(node.config() == config);
        CHECK_FALSE(node.has_leftovers());
    }
}

TEST_CASE("law: whichever operation fails, the file is wholly old or new, and the earlier script is run") {
    // As if the operation had not been done, and as if it had been, but nobody knew.
    for (const bool was_done : {false, true}) {
        for (const bool disabling : {false, true}) {
            for (const auto& config : kConfigs) {
                for (unsigned n = 1;; ++n) {
                    CAPTURE(was_done);
                    CAPTURE(disabling);
                    CAPTURE(config.value_or("(none)"));
                    CAPTURE(n);
                    Node node;
                    if (config) node.root.write(kConfig, *config);
                    // A link that is left from before.
                    std::filesystem::create_directories(node.root / "etc/vmad/hook.d");
                    if (!disabling) std::filesystem::create_symlink("/opt/stale.sh", node.root / kLink);
                    if (disabling) REQUIRE(node.enable().changed);
                    const std::string script(pve::vzdump_script(config.value_or("")));
                    const auto old = node.config();
                    node.fs.forget_calls();
                    (was_done ? node.fs.after : node.fs.before) = [&](const Call& call) {
                        if (call.number == n) FaultFileSystem::fail(EIO, call);
                    };
                    bool failed = false;
                    try {
                        const auto change = disabling ? node.disable() : node.enable();
                        CHECK(change.changed);
                    } catch (const base::SystemError& error) {
                        CHECK(error.number() == EIO);
                        failed = true;
                    }
                    const bool finished = n > node.fs.calls();
                    node.fs.before = node.fs.after = nullptr;
                    const auto enabled_text = pve::with_vzdump_script(config.value_or(""), kHookScript);
                    const std::optional<std::string> changed =
                        disabling ? config : std::optional(enabled_text);
                    if (!failed) CHECK(node.config() == changed);
                    CHECK((node.config() == old || node.config() == changed));
                    if (!script.empty()) CHECK(node.runs(script));

                    // Once more, it succeeds from there.
                    if (disabling)
                        (void)node.disable();
                    else
                        (void)node.enable();
                    CHECK(node.config() == changed);
                    if (!script.empty()) CHECK(node.runs(script));
                    if (!disabling) {
                        CHECK(node.link() == script);
                        (void)node.disable();
                    }
                    CHECK(node.config() == config);
                    CHECK(node.link().empty());
                    if (finished) break;
                }
            }
        }
    }
}

TEST_CASE("a script that the hook runs already is not linked a second time, and comes back all the same") {
    const std::string in_directory = "/etc/vmad/hook.d/50-a";
    for (const std::string script :
         {"/etc/vmad/hook.d/50-a", "/etc/vmad//hook.d/./50-a", "/opt/a.sh", "/etc/vmad/hook.d/60-missing"}) {
        CAPTURE(script);
        Node node;
        std::filesystem::create_directories(node.root / "etc/vmad/hook.d");
        std::filesystem::create_symlink("/opt/a.sh", node.root / in_directory);
        const auto config = "script: " + script + "\n";
        node.root.write(kConfig, config);
        const auto change = node.enable();
        CHECK(change.changed);
        CHECK_FALSE(change.linked);
        CHECK(change.earlier == script);
        CHECK_FALSE(node.root.has(kLink));
        CHECK(node.disable().earlier == script);
        CHECK(node.config() == config);
    }
    // One that the hook does not see is linked.
    Node node;
    std::filesystem::create_directories(node.root / "etc/vmad/hook.d");
    node.add_script("etc/vmad/hook.d/.hidden");
    node.root.write(kConfig, "script: /etc/vmad/hook.d/.hidden");
    CHECK(node.enable().linked);
}

TEST_CASE("a script that was taken out of hook.d since does not come back") {
    Node node;
    std::filesystem::create_directories(node.root / "etc/vmad/hook.d");
    node.add_script("etc/vmad/hook.d/50-a");
    std::filesystem::create_symlink("/etc/vmad/hook.d/50-a", node.root / "opt/link");
    node.root.write(kConfig, "a: b\nscript: /opt/link\n");
    REQUIRE(node.enable().changed);
    node.root.remove("etc/vmad/hook.d/50-a");
    CHECK(node.disable().earlier.empty());
    CHECK(node.config() == "a: b\n");
}

TEST_CASE("a script that runs the hook is never run by it") {
    Node node;
    node.add_script("opt/copy", "#!/bin/sh\nhook_d=/etc/vmad/hook.d\n");
    node.add_script("opt/caller", "#!/bin/sh\n  # comment\n exec /etc/vmad/vzdump-hook \"$@\"\n");
    node.add_script("opt/mention", "#!/bin/sh\n  # was /etc/vmad/vzdump-hook\n");
    std::filesystem::create_symlink("/etc/vmad/vzdump-hook", node.root / "opt/link");
    for (const std::string script : {"/opt/copy", "/opt/caller", "/opt/link", "/etc//vmad/vzdump-hook"}) {
        CAPTURE(script);
        node.root.write(kConfig, "script: " + script + "\n");
        CHECK_FALSE(node.enable().changed);
        CHECK_FALSE(node.root.has(kLink));
        CHECK(node.config() == "script: " + script + "\n");
    }
    node.root.write(kConfig, "script: /opt/mention\n");
    CHECK(node.enable().linked);
}

TEST_CASE("disabling takes every line that names the hook, and leaves what an administrator has changed") {
    Node node;
    node.root.write(kConfig, "script: /etc/vmad/vzdump-hook\na: b\nscript: /etc/vmad/vzdump-hook\n");
    CHECK(node.disable().changed);
    CHECK(node.config() == "a: b\n");
    node.root.write(kConfig, "script: /opt/a.sh\n");
    REQUIRE(node.enable().changed);
    node.root.write(kConfig, "script: /opt/b.sh\n");
    CHECK_FALSE(node.disable().changed);
    CHECK(node.config() == "script: /opt/b.sh\n");
    // Enabled again, the link shows the script of now.
    REQUIRE(node.enable().changed);
    CHECK(node.link() == "/opt/b.sh");
    CHECK(node.root.read(kBackup) == "script: /opt/b.sh\n");
}

TEST_CASE("what could not work is refused, and nothing is changed") {
    const struct {
        const char* config;
        const char* message;
    } cases[] = {
        {"script: a.sh\n",
         "the script \"a.sh\" in ROOT/etc/vzdump.conf is not an absolute path, so the hook cannot run it: "
         "correct the line or remove it"},
        {"script: \"/opt/a.sh\"\n",
         "the script \"\"/opt/a.sh\"\" in ROOT/etc/vzdump.conf is not an absolute path, so the hook cannot "
         "run it: correct the line or remove it"},
        {"script: /opt/a.sh\n",
         "ROOT/etc/vmad/hook.d/00-vzdump-script is not a symbolic link, but its name is reserved for vmad: "
         "rename it"},
        {"script: /etc/vmad/hook.d/00-vzdump-script\n",
         "the script in ROOT/etc/vzdump.conf is /etc/vmad/hook.d/00-vzdump-script, a name reserved "
         "for vmad: rename the script and update ROOT/etc/vzdump.conf"},
    };
    for (const auto& [config, message] : cases) {
        CAPTURE(config);
        Node node;
        std::filesystem::create_directories(node.root / "etc/vmad/hook.d");
        node.add_script(kLink);
        node.root.write(kConfig, config);
        std::string expected = message;
        for (auto at = expected.find("ROOT"); at != expected.npos; at = expected.find("ROOT"))
            expected.replace(at, 4, node.root.path());
        CHECK_THROWS_WITH_AS((void)node.enable(), expected.c_str(), base::UsageError);
        CHECK(node.config() == config);
        CHECK_FALSE(node.root.has(kBackup));
    }
    Node node;
    node.root.write(kConfig, "script: /opt/a.sh\n");
    REQUIRE(::chmod((node.root / "etc/vmad/vzdump-hook").c_str(), 0644) == 0);
    CHECK_THROWS_AS((void)node.enable(), base::Error);
    node.root.remove("etc/vmad/vzdump-hook");
    CHECK_THROWS_WITH_AS((void)node.enable(),
                         (node.root / "etc/vmad/vzdump-hook" +
                          " is missing: every backup would fail; reinstall vmad, or make the hook "
                          "executable")
                             .c_str(),
                         base::Error);
    CHECK(node.config() == "script: /opt/a.sh\n");
    CHECK_FALSE(node.root.has("etc/vmad/hook.d"));
}

TEST_CASE("where the file is a symbolic link, the link stays") {
    Node node;
    std::filesystem::create_directories(node.root / "srv");
    node.root.write("srv/conf", "script: /opt/a.sh\n");
    // Absolute in the node, so not on this host.
    std::filesystem::create_symlink("/srv/conf", node.root / kConfig);
    REQUIRE(node.enable().changed);
    CHECK(std::filesystem::is_symlink(node.root / kConfig));
    CHECK(node.root.read("srv/conf") == "script: /etc/vmad/vzdump-hook\n");
    CHECK(node.root.read(kBackup) == "script: /opt/a.sh\n");
    REQUIRE(node.disable().changed);
    CHECK(node.root.read("srv/conf") == "script: /opt/a.sh\n");
    node.root.remove("srv/conf");
    CHECK_THROWS_WITH_AS(
        (void)node.enable(),
        (node.root / kConfig + " is a dangling symbolic link: remove it or create its target").c_str(),
        base::Error);
}

TEST_CASE("attributes of the file stay") {
    Node node;
    node.root.write(kConfig, "a: b\n");
    const auto path = node.root / kConfig;
    if (::setxattr(path.c_str(), "user.note", "x", 1, 0) != 0) return;  // a file system without them
    REQUIRE(node.enable().changed);
    char value = 0;
    CHECK(::getxattr(path.c_str(), "user.note", &value, 1) == 1);
    CHECK(value == 'x');
}

TEST_CASE("what a call that was killed has left is removed a day later") {
    Node node;
    std::filesystem::create_directories(node.root / "etc/vmad/hook.d");
    for (const std::string place : {"etc/", "etc/vmad/hook.d/"})
        for (const std::string name :
             {".vmad-0123456789abcdef.tmp", ".vmad-1123456789abcdef.tmp", ".somebody's"}) {
            node.root.write(place + name, "half");
            if (!name.starts_with(".vmad-1")) node.root.set_modified(place + name, {1, 0});
        }
    const auto demand_cleared = [&] {
        for (const std::string place : {"etc/", "etc/vmad/hook.d/"}) {
            CHECK_FALSE(node.root.has(place + ".vmad-0123456789abcdef.tmp"));
            CHECK(node.root.has(place + ".vmad-1123456789abcdef.tmp"));
            CHECK(node.root.has(place + ".somebody's"));
        }
    };
    (void)node.enable();
    demand_cleared();
    node.root.write("etc/.vmad-0123456789abcdef.tmp", "half");
    node.root.set_modified("etc/.vmad-0123456789abcdef.tmp", {1, 0});
    (void)node.disable();
    demand_cleared();
}
