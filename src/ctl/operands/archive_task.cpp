#include "ctl/operands/archive_task.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/limits.hpp"

namespace vmad::ctl {

namespace {

io::File open_archive(io::FileSystem& fs, const std::string& path) {
    // O_NONBLOCK: to open a FIFO would wait for its writer.
    auto file = fs.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!S_ISREG(fs.status(file).st_mode)) throw base::Error(fmt::format("{} is not a regular file", path));
    return file;
}

}  // namespace

ArchiveInput::ArchiveInput(io::FileSystem& fs, const std::string& path, io::CacheUse cache_use,
                           const codec::SourceOptions& options) {
    if (path != kStandardStream) {
        file_ = open_archive(fs, path);
        source_.emplace(codec::ArchiveSource::of_file(fs, file_, cache_use, options));
        return;
    }
    if (::isatty(STDIN_FILENO))
        throw base::UsageError("refusing to read an archive from a terminal; redirect standard input");
    stream_.emplace(STDIN_FILENO, "standard input", options.cancel);
    source_.emplace(codec::ArchiveSource::of_stream(*stream_, options));
}

void check_standard_output(const ArchiveInput& input, std::string_view what) {
    if (::isatty(STDOUT_FILENO))
        throw base::UsageError(
            fmt::format("refusing to write {} to a terminal; redirect standard output", what));
    struct stat from {};
    struct stat to {};
    const int source = input.file() != nullptr ? input.file()->fd() : STDIN_FILENO;
    if (::fstat(source, &from) != 0 || ::fstat(STDOUT_FILENO, &to) != 0) return;
    if (S_ISREG(from.st_mode) && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        throw base::UsageError("standard output is the source file");
}

void add_threads_option(cli::Arguments& arguments, unsigned& threads) {
    threads = base::default_threads();
    arguments
        .option("--threads", threads,
                "Number of worker threads (default: half of the\n"
                "CPUs, at most 4)")
        .help_text("N")
        .between(1U, base::kMaxThreads);
}

base::TaskOptions task_options(unsigned threads, const StopSignals& signals, ProgressBar& bar) {
    return {threads, &signals.flag(), bar.sink()};
}

}  // namespace vmad::ctl
