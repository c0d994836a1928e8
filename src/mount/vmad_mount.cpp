// vmad-mount: shows an archive as files. "vmactl mount" runs it, with paths that are absolute, and man vmactl
// says what it does: it is a program of its own so that nothing else needs libfuse.

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>

#include <csignal>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "access/index_cache.hpp"
#include "base/limits.hpp"
#include "base/path.hpp"
#include "base/units.hpp"
#include "cli/arguments.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_info.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/stop_signals.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/console.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/progress_bar.hpp"
#include "mount/archive_tree.hpp"
#include "mount/archive_watch.hpp"
#include "mount/background.hpp"
#include "mount/fuse_session.hpp"
#include "mount/mount_log.hpp"

namespace vmad::mount {
namespace {

using ctl::Console;

struct Options {
    bool json = false;
    bool foreground = false;
    bool allow_other = false;
    std::string memory = "128M";
    unsigned threads = 8;
    std::string archive{};
    std::string directory{};
};

/// The text to print instead, for --help.
std::optional<std::string> parse(int argc, char** argv, Options& options) {
    cli::ArgumentParser parser("vmad-mount", "Show a VMA archive as files; run by \"vmactl mount\".",
                               "vmad-mount " VMAD_VERSION);
    auto arguments = parser.arguments();
    arguments.flag("--json", options.json, "Print JSON");
    arguments.flag("--foreground", options.foreground, "Stay in the foreground");
    arguments.flag("--allow-other", options.allow_other, "Let other users read the files");
    arguments.option("--memory", options.memory, "Memory for what was read").value_name("SIZE");
    arguments.option("--threads", options.threads, "Number of threads that answer")
        .value_name("N")
        .between(1U, base::kMaxThreads);
    arguments.operand("ARCHIVE", options.archive, "Path of the archive").required();
    arguments.operand("DIR", options.directory, "Directory to mount at").required();
    return parser.parse(argc, argv);
}

/// An open archive, and where everything in it is.
struct Archive {
    io::FileSystem fs;
    io::File file;
    struct stat status {};
    std::unique_ptr<access::ArchiveIndex> index;
};

void open(Archive& archive, const Options& options, Console& console) {
    const ctl::StopSignals signals;
    ctl::ProgressBar bar(console, ctl::archive_label(options.archive), {base::Stage::repacking});
    archive.file = archive.fs.open(options.archive, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    archive.status = archive.fs.status(archive.file);
    if (!S_ISREG(archive.status.st_mode))
        throw base::Error(fmt::format("{} is not a regular file", options.archive));
    const access::IndexCache cache;
    archive.index = access::ArchiveIndex::read(archive.fs, archive.file,
                                               ctl::task_options(options.threads, signals, bar), &cache);
}

std::string change_text(const Options& options, ArchiveState state) {
    return fmt::format(
        "{} was {}; {} still shows the archive as it was{}", options.archive, to_string(state),
        options.directory,
        state == ArchiveState::replaced ? ": unmount it and mount it again to see the new one" : "");
}

/// info.json: what "vmactl info --json" prints, and what has become of the archive.
std::string info_text(nlohmann::json info, const ArchiveWatch& watch) {
    info["archive"] = to_string(watch.state());
    return info.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

/// What was mounted.
void print_files(Console& console, const Options& options, FileTree& tree) {
    nlohmann::json files = nlohmann::json::array();
    std::string text;
    for (const auto& entry : tree.entries(kRootInode).value_or(std::vector<Entry>())) {
        files.push_back(entry.name);
        text += ctl::printable(options.directory + "/" + entry.name) + "\n";
    }
    if (options.json)
        console.print_json({{"path", options.archive}, {"directory", options.directory}, {"files", files}});
    else
        console.print(text);
}

void show(const Options& options, Console& console, Background& background) {
    Archive archive;
    open(archive, options, console);
    const HeldSignals held;
    MountLog log(console, options.archive);
    const ArchiveWatch watch(options.archive, archive.status,
                             [&](ArchiveState state) { log.warn_once(change_text(options, state)); });
    // Whether it is canonical throughout would take a look at each of its regions.
    const auto info = ctl::to_json({.path = options.archive,
                                    .format = archive.index->format(),
                                    .size_bytes = archive.status.st_size,
                                    .header = archive.index->header()});
    ArchiveTree tree(*archive.index, {.memory_bytes = base::parse_size(options.memory)},
                     archive.status.st_mtim, [&] { return info_text(info, watch); });
    FuseSession session(tree, {.mount_point = options.directory,
                               .source = options.archive,
                               .allow_other = options.allow_other,
                               .threads = options.threads,
                               .on_ready =
                                   [&] {
                                       print_files(console, options, tree);
                                       if (options.foreground) return;
                                       log.use_journal();
                                       background.detach();
                                   },
                               .on_failure = [&](const std::string& text) { log.warn_once(text); }});
    session.serve();
}

int run(int argc, char** argv, Console& console) {
    Options options;
    try {
        if (const auto text = parse(argc, argv, options)) {
            console.print(*text);
            return 0;
        }
        if (options.json) console.use_json();
        auto background = options.foreground ? Background::none() : Background::fork();
        show(options, console, background);
        return 0;
    } catch (const base::Cancelled&) {
        return ctl::StopSignals::exit_status();
    } catch (const std::exception&) {
        return static_cast<int>(ctl::report_failure(console, options.archive));
    }
}

}  // namespace
}  // namespace vmad::mount

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    // Each thread would keep what it has freed for itself: half as much memory again as was asked for.
    ::mallopt(M_ARENA_MAX, 1);
    vmad::ctl::Console console;
    return vmad::mount::run(argc, argv, console);
}
