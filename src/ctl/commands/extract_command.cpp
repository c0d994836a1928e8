// vmactl extract: the disks and configs of an archive as plain files.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "access/index_cache.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "repack/disk_stream.hpp"
#include "repack/extract.hpp"

namespace vmad::ctl {
namespace {

class ExtractCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", archive_, "Path, volume ID, or - for standard input").required();
        arguments
            .operand("DIR", directory_,
                     "Directory to extract to, created if missing; - to\nwrite one disk to standard output")
            .required();
        arguments
            .option("--device", options_.devices, "Extract only this disk (scsi0), no configs;\nrepeatable")
            .value_name("NAME")
            .repeatable();
        arguments.flag("--force", options_.force, "Replace existing files");
        add_threads_option(arguments, threads_);
        arguments.footer(
            "Writes each disk as a sparse file disk-NAME.raw and each config under its own\n"
            "name, readable only by their owner. The whole archive is checked; if it is\n"
            "damaged, no files are left. With --device, only the selected disks of a .vma, or\n"
            "of a .vma.zst written by vmad, are read and checked.\n"
            "\n"
            "With - as DIR, the disk that --device names (or the only one) is written to\n"
            "standard output, holes as zeros. If the archive is damaged, the output ends\n"
            "early, and the exit status is not 0.");
    }

    ExitCode run(Context& context) override {
        if (to_standard_output()) check_options(context);
        std::optional<repack::ExtractResult> result;
        try {
            archive_ = archive_name(context.fs, context.console, archive_).path;
            result = extract(context);
        } catch (const base::Error&) {
            return report_failure(context.console, archive_);
        }
        if (!warning_.empty()) context.console.message(fmt::format("{}: {}", archive_, warning_));
        if (!to_standard_output()) print(context, *result);
        return ExitCode::done;
    }

  private:
    [[nodiscard]] bool to_standard_output() const { return directory_ == kStandardStream; }

    void check_options(const Context& context) const {
        if (context.options.json)
            throw base::UsageError("--json cannot be combined with a disk on standard output");
        if (options_.devices.size() > 1)
            throw base::UsageError("only one disk can be written to standard output");
    }

    [[nodiscard]] repack::ExtractResult extract(Context& context) {
        const StopSignals signals;
        ArchiveInput input(context.fs, archive_, io::CacheUse::keep, {threads_, &signals.flag()});
        if (to_standard_output()) check_standard_output(input, "a disk");
        ProgressBar bar(context.console, archive_label(archive_), {base::Stage::extracting});
        options_.task = task_options(threads_, signals, bar);
        ProgressBar index_bar(context.console, archive_label(archive_) + " (index)",
                              {base::Stage::repacking});
        const access::IndexCache cache;
        options_.index = {index_bar.sink(), &cache};
        repack::ExtractResult result;
        if (to_standard_output())
            stream(context, input);
        else
            result = repack::extract(context.fs, input.source(), input.file(), directory_, options_);
        warning_ = input.source().warning();
        return result;
    }

    void stream(Context& context, ArchiveInput& input) const {
        io::StreamSink sink(STDOUT_FILENO, "standard output", options_.task.cancel);
        repack::stream_disk(
            context.fs, input.source(), input.file(), sink,
            {options_.task, options_.devices.empty() ? "" : options_.devices[0], options_.index});
    }

    void print(Context& context, const repack::ExtractResult& result) const {
        if (context.options.json)
            return context.console.print_json({{"path", archive_},
                                               {"directory", directory_},
                                               {"files", result.files},
                                               {"size_bytes", result.size_bytes},
                                               {"written_bytes", result.written_bytes}});
        std::string text;
        for (const auto& file : result.files) text += printable(directory_ + "/" + file) + "\n";
        context.console.print(text);
    }

    std::string archive_;
    std::string directory_;
    std::string warning_;  ///< about the archive
    repack::ExtractOptions options_;
    unsigned threads_ = 1;
};

}  // namespace

std::unique_ptr<Command> make_extract_command() { return std::make_unique<ExtractCommand>(); }

}  // namespace vmad::ctl
