// vmactl repack: writes the canonical form of an archive to a new file, or replaces the archive by it.

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/limits.hpp"
#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/commands/in_place_run.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "repack/new_archive.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "SRC and DST may be .vma, .vma.zst, .vma.gz or .vma.lzo. The format of SRC is\n"
    "detected from its content, that of DST from its name (default: that of SRC;\n"
    "endings of other formats are refused).\n"
    "Either may be - for standard input or output; SRC may be a volume ID.\n"
    "\n"
    "DST appears once it is complete, synced and verified: read back from disk,\n"
    "checked, and compared with SRC. Standard output is not verified.\n"
    "\n"
    "With --in-place, each archive is replaced atomically, in its own format. An\n"
    "archive that is invalid, busy, modified within the last minute or already\n"
    "canonical is left unchanged. If a run is killed, the next one finishes or rolls\n"
    "back the replacement. The state directory is that of the daemon for root,\n"
    "else ~/.local/state/vmad. SIZE is a number with the suffix K, M or G.";

std::uint64_t parse_memory(const std::string& text) {
    const auto bytes = base::parse_size(text);
    if (bytes < base::kMinMemoryBytes || bytes > base::kMaxMemoryBytes)
        throw base::UsageError(fmt::format("--memory is {}: write a size from {} to {}", text,
                                           base::spell_size(base::kMinMemoryBytes),
                                           base::spell_size(base::kMaxMemoryBytes)));
    return bytes;
}

class RepackCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("FILE", paths_, "SRC and DST; with --in-place, archives").required();
        auto in_place = arguments.flag("--in-place", in_place_, "Replace each FILE with its canonical form");
        arguments.flag("--force", options_.force, "Replace an existing DST").excludes(in_place);
        arguments.flag("--no-verify", no_verify_, "Do not read DST back to verify it").excludes(in_place);
        arguments.flag("-v,--verbose", verbose_, "Print a more detailed summary");
        add_threads_option(arguments, threads_);
        add_level_option(arguments, options_.repack.zstd_level);
        arguments.option("--memory", memory_, "Size of the reorder buffer (default 256M)").value_name("SIZE");
        arguments
            .option("--spill-dir", options_.repack.spill.directory,
                    "Directory for the spill file if DST's directory\n"
                    "cannot hold it (default /var/tmp)")
            .help_text("DIR");
        arguments.option("--state-dir", state_directory_, "Directory for locks and records of --in-place")
            .value_name("DIR")
            .needs(in_place);
        arguments
            .option("--verify-source", verify_source_,
                    "auto, always or off: read FILE once more\nbefore it is replaced (default auto)")
            .value_name("WHEN")
            .one_of({base::kVerifySourceWords.begin(), base::kVerifySourceWords.end()})
            .needs(in_place);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        options_.verify = !no_verify_;
        if (!memory_.empty()) options_.repack.memory_bytes = parse_memory(memory_);
        const StopSignals signals;
        options_.repack.task.threads = threads_;
        options_.repack.task.cancel = &signals.flag();
        return in_place_ ? run_in_place(context) : run_copy(context);
    }

  private:
    ExitCode run_in_place(Context& context) const {
        if (std::find(paths_.begin(), paths_.end(), kStandardStream) != paths_.end())
            throw base::UsageError("--in-place cannot replace standard input; use SRC and DST instead");
        const auto state =
            state_directory_.empty() ? default_state_directory() : absolute_path(state_directory_);
        const auto& words = base::kVerifySourceWords;
        const auto when = std::find(words.begin(), words.end(), verify_source_) - words.begin();
        return repack_in_place_all(context, {.paths = paths_,
                                             .state_directory = state,
                                             .verify_source = static_cast<base::VerifySource>(when),
                                             .repack = options_.repack,
                                             .verbose = verbose_});
    }

    ExitCode run_copy(Context& context) {
        if (paths_.size() != 2)
            throw base::UsageError("repack needs SRC and DST, or --in-place and archives to replace");
        if (to_standard_output() && context.options.json)
            throw base::UsageError("--json cannot be combined with an archive on standard output");
        const auto begin = std::chrono::steady_clock::now();
        std::optional<engine::RepackResult> result;
        try {
            paths_[0] = archive_name(context.fs, context.console, paths_[0]).path;
            ProgressBar bar(context.console, archive_label(paths_[0]), stages());
            options_.repack.task.progress = bar.sink();
            result = copy(context);
        } catch (const base::Error&) {
            return report_failure(context.console, paths_[0]);
        }
        if (!warning_.empty()) context.console.message(fmt::format("{}: {}", paths_[0], warning_));
        if (!to_standard_output()) print_summary(context, *result, std::chrono::steady_clock::now() - begin);
        return ExitCode::done;
    }

    [[nodiscard]] std::vector<base::Stage> stages() const {
        if (to_standard_output() || !options_.verify) return {base::Stage::repacking};
        return {base::Stage::repacking, base::Stage::verifying};
    }

    [[nodiscard]] bool to_standard_output() const { return paths_[1] == kStandardStream; }

    [[nodiscard]] engine::RepackResult copy(Context& context) {
        const auto& task = options_.repack.task;
        ArchiveInput input(context.fs, paths_[0], io::CacheUse::keep, {task.threads, task.cancel});
        auto result = to_standard_output() ? copy_to_standard_output(context, input)
                                           : repack::repack_to_file(context.fs, input.source(), input.file(),
                                                                    paths_[1], options_);
        warning_ = input.source().warning();
        return result;
    }

    [[nodiscard]] engine::RepackResult copy_to_standard_output(Context& context, ArchiveInput& input) const {
        check_standard_output(input, "an archive");
        auto options = options_.repack;
        options.format = input.source().format();
        io::StreamSink sink(STDOUT_FILENO, "standard output", options.task.cancel);
        return engine::repack(context.fs, input.source(), sink, options);
    }

    void print_summary(Context& context, const engine::RepackResult& result,
                       std::chrono::duration<double> elapsed) const {
        const auto digest = result.fingerprint.digest.to_hex();
        if (context.options.json)
            return context.console.print_json({{"source", paths_[0]},
                                               {"destination", paths_[1]},
                                               {"source_bytes", result.source_bytes},
                                               {"archive_bytes", result.archive_bytes},
                                               {"result_bytes", result.result_bytes},
                                               {"reread_bytes", result.reread_bytes},
                                               {"spilled_bytes", result.spilled_bytes},
                                               {"seconds", elapsed.count()},
                                               {"verified", options_.verify},
                                               {"digest", digest}});
        auto line = fmt::format(
            "{}: {} → {} at {}, {}, digest {}", printable(paths_[1]), base::format_size(result.source_bytes),
            base::format_size(result.result_bytes), base::format_rate(result.source_bytes, elapsed),
            options_.verify ? "verified" : "not verified", digest);
        if (verbose_)
            line += fmt::format(", {} read twice, {} spilled", base::format_size(result.reread_bytes),
                                base::format_size(result.spilled_bytes));
        context.console.print(line + "\n");
    }

    std::vector<std::string> paths_;
    bool in_place_ = false;
    bool no_verify_ = false;
    bool verbose_ = false;
    unsigned threads_ = 1;
    std::string memory_;
    std::string state_directory_;
    std::string verify_source_ = base::kVerifySourceWords[0];
    std::string warning_;  ///< about SRC
    repack::NewArchiveOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_repack_command() { return std::make_unique<RepackCommand>(); }

}  // namespace vmad::ctl
