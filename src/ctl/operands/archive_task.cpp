#include "ctl/operands/archive_task.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/limits.hpp"

namespace vmad::ctl {

io::File open_archive(io::FileSystem& fs, const std::string& path) {
    // O_NONBLOCK: to open a FIFO would wait for its writer.
    auto file = fs.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!S_ISREG(fs.status(file).st_mode)) throw base::Error(fmt::format("{} is not a regular file", path));
    return file;
}

namespace {

/// Of a pipe as well as of a file.
std::string read_config(io::FileSystem& fs, const std::string& path, const base::CancelFlag& cancel) {
    const auto file = fs.open(path, O_RDONLY | O_NOCTTY);
    io::StreamSource source(file.fd(), path, &cancel);
    std::string data(vma::kMaxBlobSize + 1, '\0');
    iovec into{data.data(), data.size()};
    data.resize(source.read({&into, 1}));
    if (data.size() > vma::kMaxBlobSize)
        throw base::UsageError(
            fmt::format("{} has more than {} bytes, the most that an archive holds of a config", path,
                        vma::kMaxBlobSize));
    return data;
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

void check_standard_output(int source, std::string_view what) {
    if (::isatty(STDOUT_FILENO))
        throw base::UsageError(
            fmt::format("refusing to write {} to a terminal; redirect standard output", what));
    struct stat from {};
    struct stat to {};
    if (::fstat(source, &from) != 0 || ::fstat(STDOUT_FILENO, &to) != 0) return;
    if (S_ISREG(from.st_mode) && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        throw base::UsageError("standard output is the source file");
}

void check_standard_output(const ArchiveInput& input, std::string_view what) {
    check_standard_output(input.file() != nullptr ? input.file()->fd() : STDIN_FILENO, what);
}

void add_level_option(cli::Arguments& arguments, int& level) {
    arguments.option("--level", level, "zstd compression level, 1 to 19 (default 3)")
        .help_text("N")
        .between(base::kMinZstdLevel, base::kMaxZstdLevel);
}

NamedValue parse_named_value(const std::string& option, const std::string& text, const std::string& form) {
    const auto equals = text.find('=');
    if (equals == 0 || equals == text.npos || equals + 1 == text.size())
        throw base::UsageError(fmt::format("{}: write {}, not \"{}\"", option, form, text));
    return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<vma::Config> read_configs(io::FileSystem& fs, const std::string& option,
                                      const std::vector<std::string>& texts, const base::CancelFlag& cancel) {
    std::vector<vma::Config> configs;
    for (const auto& text : texts) {
        auto [name, path] = parse_named_value(option, text, "NAME=FILE");
        configs.push_back({std::move(name), read_config(fs, path, cancel)});
    }
    return configs;
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
