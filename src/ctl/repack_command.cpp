// vmactl repack: the canonical form of an archive, as a new file or in its place.

#include <chrono>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/quantity.hpp"
#include "ctl/absolute_path.hpp"
#include "ctl/archive_task.hpp"
#include "ctl/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/in_place_run.hpp"
#include "ctl/printable_text.hpp"
#include "ctl/size_text.hpp"
#include "ctl/state_directory.hpp"
#include "repack/new_archive.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "DST appears when it is complete, synced and proven: read back from the disk,\n"
    "checked, and compared with SRC. With --in-place each archive is replaced by its\n"
    "canonical form in one step; one that is bad, busy, younger than a minute or\n"
    "canonical already is left as it is. What a killed run leaves, the next one\n"
    "settles. DIR is /var/lib/vmad for root, else ~/.local/state/vmad. SIZE is a\n"
    "number with K, M or G.";

class RepackCommand final : public Command {
  public:
    void define(CLI::App& app) override {
        app.add_option("FILE", paths_, "SRC and DST; or archives, with --in-place")
            ->type_name("")
            ->required();
        auto* in_place = app.add_flag("--in-place", in_place_, "Replace each FILE by its canonical form");
        app.add_flag("--force", options_.force, "Replace an existing DST")->excludes(in_place);
        app.add_flag("--no-proof", no_proof_, "Do not read DST back to prove it")->excludes(in_place);
        app.add_flag("-v,--verbose", verbose_, "Tell more in the summary");
        add_threads_option(app, threads_);
        app.add_option("--memory", memory_, "For payload that waits for its turn (256M)")->type_name("SIZE");
        app.add_option("--state-dir", state_directory_, "Locks and records of --in-place")
            ->type_name("DIR")
            ->needs(in_place);
        app.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        options_.proof = !no_proof_;
        if (!memory_.empty()) options_.repack.memory_bytes = parse_size(memory_);
        const StopSignals signals;
        options_.repack.task.threads = threads_;
        options_.repack.task.cancel = &signals.flag();
        return in_place_ ? run_in_place(context) : run_copy(context);
    }

  private:
    ExitCode run_in_place(Context& context) const {
        const auto state =
            state_directory_.empty() ? default_state_directory() : absolute_path(state_directory_);
        return repack_in_place_all(context, {paths_, state, options_.repack, verbose_});
    }

    ExitCode run_copy(Context& context) {
        if (paths_.size() != 2)
            throw base::UsageError("repack needs SRC and DST, or --in-place and the archives to replace");
        const auto begin = std::chrono::steady_clock::now();
        std::optional<repack::RepackResult> result;
        try {
            ProgressBar bar(context.console);
            options_.repack.task.progress = bar.sink();
            result = repack::repack_to_file(context.fs, paths_[0], paths_[1], options_);
        } catch (const base::Error&) {
            return report_failure(context.console, paths_[0]);
        }
        print_summary(context, *result, std::chrono::steady_clock::now() - begin);
        return ExitCode::done;
    }

    void print_summary(Context& context, const repack::RepackResult& result,
                       std::chrono::duration<double> elapsed) const {
        const auto digest = result.fingerprint.digest.to_hex();
        if (context.options.json)
            return context.console.print_json({{"source", paths_[0]},
                                               {"destination", paths_[1]},
                                               {"source_bytes", result.source_bytes},
                                               {"result_bytes", result.result_bytes},
                                               {"reread_bytes", result.reread_bytes},
                                               {"seconds", elapsed.count()},
                                               {"proven", options_.proof},
                                               {"digest", digest}});
        auto line = fmt::format(
            "{}: {} → {} at {}, {}, digest {}", printable(paths_[1]), base::format_size(result.source_bytes),
            base::format_size(result.result_bytes), base::format_rate(result.source_bytes, elapsed),
            options_.proof ? "proven" : "not proven", digest);
        if (verbose_) line += fmt::format(", {} read twice", base::format_size(result.reread_bytes));
        context.console.print(line + "\n");
    }

    std::vector<std::string> paths_;
    bool in_place_ = false;
    bool no_proof_ = false;
    bool verbose_ = false;
    unsigned threads_ = 1;
    std::string memory_;
    std::string state_directory_;
    repack::NewArchiveOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_repack_command() { return std::make_unique<RepackCommand>(); }

}  // namespace vmad::ctl
