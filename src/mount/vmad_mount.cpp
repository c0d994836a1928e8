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
#include "mount/directory_tree.hpp"
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
    std::vector<std::string> folders{};  ///< NAME=PATH; none to show an archive
    std::string archive{};
    std::string directory{};

    /// What is shown.
    [[nodiscard]] std::string source() const;
};

/// Of a view of directories. NAME has no slash, and PATH begins with one.
std::vector<FolderSource> folder_sources(const Options& options) {
    std::vector<FolderSource> sources;
    for (const auto& folder : options.folders) {
        const auto end = folder.find("=/");
        if (end == std::string::npos) throw base::UsageError("--folder takes NAME=PATH");
        sources.push_back({folder.substr(0, end), folder.substr(end + 1)});
    }
    return sources;
}

std::string Options::source() const {
    std::string paths = archive;
    for (const auto& folder : folder_sources(*this)) paths += (paths.empty() ? "" : ":") + folder.path;
    return paths;
}

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
    arguments.option("--folder", options.folders, "Show this directory of archives instead")
        .value_name("NAME=PATH")
        .repeatable();
    std::vector<std::string> words;
    arguments.operand("WORD", words, "[ARCHIVE] DIR: path of the archive, directory to mount at").required();
    auto text = parser.parse(argc, argv);
    if (text) return text;
    if (words.size() != (options.folders.empty() ? 2 : 1))
        throw base::UsageError("vmad-mount takes an ARCHIVE or --folder, and a DIR");
    if (options.folders.empty()) options.archive = words.front();
    options.directory = words.back();
    return std::nullopt;
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

std::string archives_text(std::size_t count) {
    return fmt::format("{} {}", count, count == 1 ? "archive" : "archives");
}

/// What is in the folders of a view, and what is not: archives that are to be repacked first.
void print_folders(Console& console, const Options& options, DirectoryTree& tree) {
    nlohmann::json folders = nlohmann::json::array();
    for (auto& folder : tree.folders()) {
        const auto listing = folder.listing();
        const auto place =
            folder.name().empty() ? options.directory : options.directory + "/" + folder.name();
        folders.push_back({{"directory", place},
                           {"path", folder.path()},
                           {"archives", listing->archives},
                           {"not_repacked", listing->not_repacked},
                           {"not_seekable", listing->not_seekable}});
        if (options.json) continue;
        console.print(ctl::printable(fmt::format("{}: {} of {}", place, archives_text(listing->archives),
                                                 folder.path())) +
                      "\n");
        if (const auto count = listing->not_repacked.size(); count > 0)
            console.message(fmt::format("{} of {} {} not shown until {}: vmactl scan {}",
                                        archives_text(count), folder.path(), count == 1 ? "is" : "are",
                                        count == 1 ? "it is repacked" : "they are repacked", folder.path()));
    }
    if (options.json) console.print_json({{"directory", options.directory}, {"folders", folders}});
}

/// Mounts the tree, and serves it until it is unmounted. `print` is called when it is there.
void serve(FileTree& tree, const Options& options, MountLog& log, Background& background,
           const std::function<void()>& print) {
    FuseSession session(tree, {.mount_point = options.directory,
                               .source = options.source(),
                               .allow_other = options.allow_other,
                               .threads = options.threads,
                               .on_ready =
                                   [&] {
                                       print();
                                       if (options.foreground) return;
                                       log.use_journal();
                                       background.detach();
                                   },
                               .on_failure = [&](const std::string& text) { log.warn_once(text); }});
    session.serve();
}

void show_archive(const Options& options, Console& console, Background& background) {
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
    serve(tree, options, log, background, [&] { print_files(console, options, tree); });
}

void show_folders(const Options& options, Console& console, Background& background) {
    io::FileSystem fs;
    MountLog log(console, options.source());
    DirectoryTree tree(fs, folder_sources(options), base::parse_size(options.memory),
                       [&](const std::string& text) { log.warn_once(text); });
    for (auto& folder : tree.folders()) (void)folder.listing();  // takes longest the first time
    const HeldSignals held;
    serve(tree, options, log, background, [&] { print_folders(console, options, tree); });
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
        (options.folders.empty() ? show_archive : show_folders)(options, console, background);
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
    // Regions and answers come and go: memory that went back to the system would cost page faults each time.
    ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
    vmad::ctl::Console console;
    return vmad::mount::run(argc, argv, console);
}
