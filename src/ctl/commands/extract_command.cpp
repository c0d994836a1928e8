// vmactl extract: the disks and configs of an archive as plain files.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "repack/extract.hpp"

namespace vmad::ctl {
namespace {

class ExtractCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", archive_, "Path, volume ID, or - for standard input").required();
        arguments.operand("DIR", directory_, "Directory to extract to; created if missing").required();
        arguments
            .option("--device", options_.devices, "Extract only this disk (scsi0), no configs;\nrepeatable")
            .value_name("NAME")
            .repeatable();
        arguments.flag("--force", options_.force, "Replace existing files");
        add_threads_option(arguments, threads_);
        arguments.footer(
            "Writes each disk as a sparse file disk-NAME.raw and each config under its own\n"
            "name, readable only by their owner. The whole archive is checked; if it is\n"
            "damaged, no files are left. With --device, only the selected disks of a .vma.zst\n"
            "written by vmad are read and checked.");
    }

    ExitCode run(Context& context) override {
        std::optional<repack::ExtractResult> result;
        try {
            archive_ = archive_name(context.fs, context.console, archive_).path;
            result = extract(context);
        } catch (const base::Error&) {
            return report_failure(context.console, archive_);
        }
        if (!warning_.empty()) context.console.message(fmt::format("{}: {}", archive_, warning_));
        print(context, *result);
        return ExitCode::done;
    }

  private:
    [[nodiscard]] repack::ExtractResult extract(Context& context) {
        const StopSignals signals;
        ArchiveInput input(context.fs, archive_, io::CacheUse::keep, {threads_, &signals.flag()});
        ProgressBar bar(context.console, archive_label(archive_), {base::Stage::extracting});
        options_.task = task_options(threads_, signals, bar);
        auto result = repack::extract(context.fs, input.source(), input.file(), directory_, options_);
        warning_ = input.source().warning();
        return result;
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
