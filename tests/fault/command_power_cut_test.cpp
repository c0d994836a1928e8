// The power is cut at any operation of a command that makes files: each is whole then, or as it was before.
// When the command had said that it was done, they are all there.
#include <filesystem>

#include <doctest/doctest.h>

#include "command_run.hpp"
#include "io/temporary_name.hpp"
#include "power_cuts.hpp"
#include "recording_file_system.hpp"
#include "support/dump.hpp"

using namespace vmad;
using namespace vmad::fault;
using support::TemporaryDirectory;

namespace {

constexpr std::size_t kMostStates = 25;

using Files = std::map<std::string, std::string>;

struct CommandCase {
    std::string title;
    std::vector<std::string> words;  ///< "@" is the root of the disk
    Files before{};                  ///< beside a.vma
    bool unnamed = true;
    bool links = true;
};

std::string archive() {
    const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi0", 256 << 10, {}}}));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// By path, without those that vmad knows for files in the making.
Files files_of(const DiskImage& image) {
    Files files;
    for (const auto& [path, node] : image.paths())
        if (image.files.contains(node) &&
            !io::is_reserved_name(std::filesystem::path(path).filename().string()))
            files[path] = image.files.at(node).text();
    return files;
}

bool is_same(const Files& a, const Files& b, const std::string& path) {
    const auto in_a = a.find(path);
    const auto in_b = b.find(path);
    if (in_a == a.end() || in_b == b.end()) return (in_a == a.end()) == (in_b == b.end());
    return in_a->second == in_b->second;
}

class CutCommand {
  public:
    explicit CutCommand(const CommandCase& command) : command_(command) {
        image_ = empty_image();
        add_file(image_, image_.root, "a.vma", content(archive()));
        for (const auto& [name, text] : command.before) add_file(image_, image_.root, name, content(text));
        RecordingFileSystem fs(root_, image_);
        run(fs);
        operations_ = fs.operations();
        ChangingDisk disk(image_);
        for (const auto& operation : operations_) disk.apply(operation);
        after_ = files_of(disk.now());
        REQUIRE(after_ != files_of(image_));
    }

    void cut_everywhere() {
        std::set<std::size_t> seen;
        const auto is_done = [&](std::size_t done) { return std::size_t{done == operations_.size()}; };
        const auto states = states_after_cuts(image_, operations_, is_done, seen);
        const auto tried = sampled(states, kMostStates);
        for (const auto& state : tried) {
            CAPTURE(command_.title);
            CAPTURE(state.title);
            check(files_of(state.image), state.operations == operations_.size());
            RecordingFileSystem fs(root_, state.image);
            run(fs);
            for (const auto& [path, text] : after_) CHECK((root_.has(path) && root_.read(path) == text));
        }
        print_cuts(command_.title, operations_.size(), states.size(), tried.size());
    }

  private:
    static FileNode content(std::string text) {
        return {.content = std::make_shared<const Content>(std::move(text))};
    }

    void run(RecordingFileSystem& fs) const {
        fs.has_unnamed = command_.unnamed;
        fs.has_links = command_.links;
        auto words = command_.words;
        words.insert(words.end(), {"--force", "--threads", "1"});
        for (auto& word : words)
            if (const auto at = word.find('@'); at != word.npos) word.replace(at, 1, root_.path());
        const auto [code, text] = run_command(fs, words);
        CAPTURE(text);
        REQUIRE(code == ctl::ExitCode::done);
    }

    void check(const Files& now, bool is_done) const {
        const auto before = files_of(image_);
        auto all = now;
        all.insert(before.begin(), before.end());
        all.insert(after_.begin(), after_.end());
        for (const auto& [path, text] : all) {
            CAPTURE(path);
            CHECK((is_same(now, after_, path) || (!is_done && is_same(now, before, path))));
        }
    }

    const CommandCase& command_;
    TemporaryDirectory root_{TemporaryDirectory::fast_base()};
    DiskImage image_;
    std::vector<Operation> operations_;
    Files after_;
};

void run_cases(CommandCase command) {
    const auto title = command.title;
    CutCommand(command).cut_everywhere();
    command.title = title + ", with a name";
    command.unnamed = false;
    CutCommand(command).cut_everywhere();
}

}  // namespace

TEST_CASE("repack to a new file") {
    run_cases({.title = "repack to a new file", .words = {"repack", "@/a.vma", "@/b.vma.zst"}});
}
TEST_CASE("repack over a file") {
    run_cases({.title = "repack over a file",
               .words = {"repack", "@/a.vma", "@/b.vma"},
               .before = {{"b.vma", "old"}}});
}
TEST_CASE("extract") { run_cases({.title = "extract", .words = {"extract", "@/a.vma", "@/out"}}); }
TEST_CASE("create") {
    run_cases(
        {.title = "create",
         .words = {"create", "@/b.vma", "--time", "1", "--config=qemu-server.conf=@/c", "--disk=scsi0=@/d"},
         .before = {{"c", "#qmdump#map:scsi0:drive-scsi0:local:raw:\n"}, {"d", std::string(65536, 'x')}}});
}
