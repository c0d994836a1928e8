// Commands of vmactl, from their words to their exit code, on a file system that fails.
#include <fcntl.h>

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "call_matrix.hpp"
#include "command_run.hpp"
#include "engine/engine_run.hpp"
#include "io/temporary_name.hpp"
#include "loop_volume.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::fault;
using codec::ArchiveFormat;
using ctl::ExitCode;
using support::TemporaryDirectory;

namespace {

/// What is in a directory, by relative path: the content of files, and what else there is.
using Tree = std::map<std::string, std::string>;

Tree tree_of(const TemporaryDirectory& root) {
    Tree tree;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root.path())) {
        const auto path = std::filesystem::relative(entry.path(), root.path()).string();
        if (entry.is_symlink())
            tree[path] = "-> " + std::filesystem::read_symlink(entry.path()).string();
        else
            tree[path] = entry.is_directory() ? "directory" : root.read(path);
    }
    // Locks are made when they are taken.
    std::erase_if(tree, [](const auto& entry) { return entry.first.starts_with("state"); });
    return tree;
}

struct CommandCase {
    std::string title;
    std::vector<std::string> words;  ///< "@" is the directory of the stage
    std::function<void(const TemporaryDirectory&)> prepare;
    std::vector<std::string> again{};  ///< to be added the second time
    bool is_whole = true;              ///< everything changes, or nothing does
    bool unnamed = true;
    bool exchange = true;
    bool links = true;
    std::string storage = TemporaryDirectory::fast_base();
    std::string says{};  ///< when all went well, and nothing changes that can be seen
};

/// Nothing: it is not there.
std::optional<std::string> entry(const Tree& tree, const std::string& path) {
    const auto found = tree.find(path);
    return found == tree.end() ? std::nullopt : std::optional(found->second);
}

class CommandStage final : public Stage {
  public:
    explicit CommandStage(const CommandCase& command) : command_(command), root_(command.storage) {
        command.prepare(root_);
        ::setenv("XDG_CACHE_HOME", (root_ / "state-cache").c_str(), 1);
        before_ = tree_of(root_);
    }

    std::string run(FailingFileSystem& fs) override {
        fs.has_unnamed = command_.unnamed;
        fs.has_exchange = command_.exchange;
        fs.has_links = command_.links;
        auto [code, text] = run_command(fs, words(command_.words));
        is_done_ = code == ExitCode::done;
        demand(is_done_ || !text.empty(), "it fails without a message");
        said_ = text;
        return is_done_ ? "" : text;
    }

    void check(const std::string&, const Failure& failure) override {
        static std::map<std::string, Tree> results;
        auto& after = results[command_.title];
        if (after.empty()) after = tree_of(root_);
        demand((after == before_) == !command_.says.empty(), "other files are changed than are to be");
        if (failure.method.empty())
            demand(said_.find(command_.says) != said_.npos, "it says something else: " + said_);
        // What is said to be gone already is believed to be.
        if (hides_a_file(failure) || (failure.method == "unlink" && failure.error == ENOENT)) return;
        check_tree(after, failure);
        FailingFileSystem healthy;
        auto again = command_.words;
        again.insert(again.end(), command_.again.begin(), command_.again.end());
        const auto [code, text] = run_command(healthy, words(again));
        demand(code == ExitCode::done, "the next run fails: " + text);
        auto now = tree_of(root_);
        if (failure.method == "unlink")
            std::erase_if(now, [&](const auto& item) { return is_temporary(item.first); });
        demand(now == after, "the next run leaves something else");
    }

  private:
    [[nodiscard]] std::vector<std::string> words(std::vector<std::string> words) const {
        for (auto& word : words)
            if (const auto at = word.find('@'); at != word.npos) word.replace(at, 1, root_.path());
        return words;
    }
    static bool is_temporary(const std::string& path) {
        const auto name = std::filesystem::path(path).filename().string();
        return io::is_temporary_name(name) || io::is_reserved_name(name);
    }
    void check_tree(const Tree& after, const Failure& failure) const {
        const auto now = tree_of(root_);
        auto all = now;
        all.insert(before_.begin(), before_.end());
        all.insert(after.begin(), after.end());
        bool is_old = true;
        bool is_new = true;
        for (const auto& [path, content] : all) {
            const auto found = entry(now, path);
            const auto expected = entry(after, path);
            if (is_temporary(path)) continue;
            demand(found == entry(before_, path) || found == expected, path + " is neither old nor new");
            is_old = is_old && (found == entry(before_, path) || content == "directory");
            is_new = is_new && found == expected;
        }
        if (is_done_) demand(is_new, "it is not done");
        if (command_.is_whole && failure.method != "unlink") demand(is_old || is_new, "it is done by half");
    }

    const CommandCase& command_;
    TemporaryDirectory root_;
    Tree before_;
    bool is_done_ = false;
    std::string said_;
};

void run_case(const CommandCase& command) {
    CAPTURE(command.title);
    fail_every_call(command.title, [&] { return std::make_unique<CommandStage>(command); });
}

void write(const TemporaryDirectory& root, const std::string& name, testing::View bytes) {
    root.write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    root.set_modified(name, {1'700'000'000, 0});
}

const testing::Bytes& original() {
    static const auto bytes = testing::dump(
        testing::plausible_guest({{"drive-scsi0", 1 << 20, {}}, {"drive-scsi1", 300 << 10, {}}}));
    return bytes;
}

void write_original(const TemporaryDirectory& root) { write(root, "a.vma", original()); }

/// In canonical form, as vmad itself stores it.
void write_canonical(const TemporaryDirectory& root, const std::string& name) {
    write_original(root);
    io::FileSystem fs;
    const auto [code, text] = run_command(fs, {"repack", root / "a.vma", root / name});
    if (code != ExitCode::done) throw std::runtime_error(text);
    root.set_modified(name, {1'700'000'000, 0});
}

}  // namespace

TEST_CASE("repack in place") {
    CommandCase command{
        .title = "repack --in-place",
        .words = {"repack", "--in-place", "--threads", "2", "--state-dir", "@/state", "@/a.vma"},
        .prepare = write_original};
    run_case(command);
    command.title += " by link and rename of a named file";
    command.unnamed = command.exchange = false;
    run_case(command);
}

TEST_CASE("repack to a new file") {
    CommandCase command{.title = "repack to a new file",
                        .words = {"repack", "--threads", "2", "@/a.vma", "@/b.vma.zst"},
                        .prepare = write_original,
                        .again = {"--force"}};
    run_case(command);
    command.title += " with a name";
    command.unnamed = false;
    run_case(command);
    command.title = "repack over a file";
    command.words.emplace_back("--force");
    command.again.clear();
    command.prepare = [](const TemporaryDirectory& root) {
        write_original(root);
        root.write("b.vma.zst", "old");
    };
    run_case(command);
}

TEST_CASE("extract") {
    CommandCase command{.title = "extract",
                        .words = {"extract", "--threads", "2", "@/a.vma", "@/out"},
                        .prepare = write_original,
                        .again = {"--force"}};
    run_case(command);
    command.title += " to named files";
    command.unnamed = false;
    run_case(command);
    command = {.title = "extract one disk",
               .words = {"extract", "--threads", "2", "@/b.vma.zst", "@/out", "--device=scsi1"},
               .prepare = [](const TemporaryDirectory& root) { write_canonical(root, "b.vma.zst"); },
               .again = {"--force"}};
    run_case(command);
    command.title += " of a raw archive";
    command.words[3] = "@/a.vma";
    command.prepare = write_original;
    run_case(command);
}

TEST_CASE("create") {
    run_case({.title = "create",
              .words = {"create", "@/b.vma", "--threads", "2", "--time", "1", "--config=qemu-server.conf=@/c",
                        "--disk=drive-scsi0=@/d"},
              .prepare =
                  [](const TemporaryDirectory& root) {
                      root.write("c", "#qmdump#map:scsi0:drive-scsi0:local:raw:\n");
                      root.write("d", std::string(200'000, 'x'));
                      std::filesystem::resize_file(root / "d", 1 << 20);
                  },
              .again = {"--force"}});
}

TEST_CASE("config set") {
    for (const std::string name : {"b.vma", "b.vma.zst", "b.vma.gz"})
        run_case({.title = "config --set in " + name,
                  .words = {"config", "@/" + name, "--threads", "2", "--state-dir", "@/state",
                            "--set=note=@/note"},
                  .prepare = [&](const TemporaryDirectory& root) {
                      write_canonical(root, name);
                      root.write("note", "hello");
                  }});
}

namespace {

void make_node(const TemporaryDirectory& root) {
    std::filesystem::create_directories(root / "etc/vmad/hook.d");
    std::filesystem::create_directories(root / "opt");
    for (const std::string script : {"etc/vmad/vzdump-hook", "opt/a.sh"}) {
        root.write(script, "#!/bin/sh\n");
        std::filesystem::permissions(root / script, std::filesystem::perms(0755));
    }
    root.write("etc/vzdump.conf", "tmpdir: /tmp\nscript: /opt/a.sh\n");
}

}  // namespace

TEST_CASE("hook") {
    run_case({.title = "hook enable",
              .words = {"hook", "--root", "@", "enable"},
              .prepare = make_node,
              .is_whole = false});
    run_case({.title = "hook disable",
              .words = {"hook", "--root", "@", "disable"},
              .prepare =
                  [](const TemporaryDirectory& root) {
                      make_node(root);
                      io::FileSystem fs;
                      (void)run_command(fs, {"hook", "--root", root.path(), "enable"});
                  },
              .is_whole = false});
}

TEST_CASE("share") {
    const LoopVolume volume("xfs");
    if (!volume.is_usable("share")) return;
    run_case({.title = "share",
              .words = {"share", "--state-dir", "@/state", "@/dump"},
              .prepare =
                  [](const TemporaryDirectory& root) {
                      std::filesystem::create_directory(root / "dump");
                      write_canonical(root, "dump/vzdump-qemu-100-2024_01_01-03_04_05.vma");
                      write_canonical(root, "dump/vzdump-qemu-100-2024_01_02-03_04_05.vma");
                  },
              .storage = volume.path(),
              .says = "MiB shared now\n"});
}
