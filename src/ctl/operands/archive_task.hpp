// What the commands share that read an archive: its opening, their options and their surroundings.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/task.hpp"
#include "cli/arguments.hpp"
#include "codec/archive_source.hpp"
#include "ctl/stop_signals.hpp"
#include "ctl/text/progress_bar.hpp"
#include "io/standard_streams.hpp"
#include "vma/format.hpp"

namespace vmad::ctl {

/// How a command line names standard input and output.
inline constexpr char kStandardStream[] = "-";

/// Opens an archive that must be a file. Throws base::Error for what is no regular file or cannot be read.
[[nodiscard]] io::File open_archive(io::FileSystem& fs, const std::string& path);

/// An archive to read: a file of any format, or standard input.
class ArchiveInput {
  public:
    /// `fs` and the flag outlive this object. Throws base::UsageError when standard input is a terminal, and
    /// base::Error for what is no regular file or cannot be read.
    ArchiveInput(io::FileSystem& fs, const std::string& path, io::CacheUse cache_use,
                 const codec::SourceOptions& options);
    ArchiveInput(const ArchiveInput&) = delete;
    ArchiveInput& operator=(const ArchiveInput&) = delete;

    [[nodiscard]] codec::ArchiveSource& source() noexcept { return *source_; }
    /// Null for standard input.
    [[nodiscard]] const io::File* file() const noexcept { return stream_ ? nullptr : &file_; }

  private:
    io::File file_;
    std::optional<io::StreamSource> stream_;
    std::optional<codec::ArchiveSource> source_;
};

/// Throws base::UsageError for standard output that is a terminal, or the file that `input` reads: as cat
/// does, for it would be read again, or be overwritten before it is. `what` would be written.
void check_standard_output(const ArchiveInput& input, std::string_view what);
/// The same for any other source, an open file.
void check_standard_output(int source, std::string_view what);

/// Adds --level to `arguments`.
void add_level_option(cli::Arguments& arguments, int& level);

/// What an option says that is written NAME=VALUE.
struct NamedValue {
    std::string name;
    std::string value;
};

/// Takes "NAME=VALUE" apart at the first "=". Throws base::UsageError that says to write `form` when a part
/// is missing.
[[nodiscard]] NamedValue parse_named_value(const std::string& option, const std::string& text,
                                           const std::string& form);

/// The configs that options of the form NAME=FILE ask for. A FILE is anything that can be read to its end.
/// Throws as parse_named_value() does, base::UsageError for more than an archive holds, and base::Error.
[[nodiscard]] std::vector<vma::Config> read_configs(io::FileSystem& fs, const std::string& option,
                                                    const std::vector<std::string>& texts,
                                                    const base::CancelFlag& cancel);

/// Adds --threads to `arguments`; the value is written to `threads`.
void add_threads_option(cli::Arguments& arguments, unsigned& threads);

/// Options that stop with `signals` and report to `bar`, which outlive what is returned.
[[nodiscard]] base::TaskOptions task_options(unsigned threads, const StopSignals& signals, ProgressBar& bar);

}  // namespace vmad::ctl
