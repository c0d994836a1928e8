#include "ctl/commands/in_place_run.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/progress_bar.hpp"
#include "publish/journal_directory.hpp"
#include "repack/in_place.hpp"
#include "settings/settings.hpp"

namespace vmad::ctl {
namespace {

using repack::InPlaceOutcome;
using Seconds = std::chrono::duration<double>;

/// How an outcome is reported: its name in JSON, the text for people, and the exit code.
struct OutcomeText {
    const char* name;
    const char* text;
    ExitCode code;
};

OutcomeText text_of(InPlaceOutcome outcome, const InPlaceRun& run) {
    switch (outcome) {
        case InPlaceOutcome::done:
        case InPlaceOutcome::in_grace_period:
            return {"done", run.done_text, ExitCode::done};
        case InPlaceOutcome::unchanged:
            return {"unchanged", run.unchanged_text, ExitCode::done};
        case InPlaceOutcome::vanished:
            return {"vanished", "no such file", ExitCode::failed};
        case InPlaceOutcome::changed:
            return {"changed", "changed by another process meanwhile, left unchanged: try again",
                    ExitCode::failed};
        case InPlaceOutcome::locked:
            return {"locked", "another process is working on it: try again later", ExitCode::busy};
        case InPlaceOutcome::open_for_writing:
            return {"locked",
                    "another process has it open for writing (\"fuser -v\" shows it): try again later",
                    ExitCode::busy};
        case InPlaceOutcome::too_recent:
            return {"too_recent", "modified within the last minute, may still be written: try again later",
                    ExitCode::busy};
    }
    __builtin_unreachable();
}

void print_outcome(Context& context, const std::string& path, const repack::InPlaceResult& result,
                   Seconds elapsed, const InPlaceRun& run) {
    const auto [name, text, code] = text_of(result.outcome, run);
    const bool done = result.outcome == InPlaceOutcome::done;
    if (context.options.json) {
        nlohmann::json object{{"path", path}, {"outcome", name}, {"seconds", elapsed.count()}};
        if (done) {
            object["size_before"] = result.size_before;
            object["size_after"] = result.size_after;
            object["reread_bytes"] = result.reread_bytes;
            object["spilled_bytes"] = result.spilled_bytes;
            if (!result.warning.empty()) object["warning"] = result.warning;
        } else if (code != ExitCode::done) {
            object["error"] = text;
        }
        if (!run.details.is_null()) object.update(run.details);
        return context.console.print_json(object);
    }
    if (code != ExitCode::done) return context.console.message(fmt::format("{}: {}", path, text));
    if (!result.warning.empty()) context.console.message(fmt::format("{}: {}", path, result.warning));
    std::string line = fmt::format("{}: {}", path, text);
    if (done)
        line +=
            fmt::format(", {} → {} at {}, verified", base::format_size(result.size_before),
                        base::format_size(result.size_after), base::format_rate(result.size_before, elapsed));
    if (done && run.verbose)
        line += fmt::format(", {} read twice, {} spilled", base::format_size(result.reread_bytes),
                            base::format_size(result.spilled_bytes));
    context.console.print(printable(line) + "\n");
}

void print_failure(Context& context, const std::string& path, const Failure& failure, const InPlaceRun& run) {
    if (!context.options.json) {
        const bool named = failure.message.find(path) != failure.message.npos;
        return context.console.message(named ? failure.message
                                             : fmt::format("{}: {}", path, failure.message));
    }
    nlohmann::json object{{"path", path},
                          {"outcome", failure.code == ExitCode::invalid ? "invalid" : "failed"},
                          {"error", failure.message}};
    if (!failure.rule.empty()) object["rule"] = failure.rule;
    if (failure.offset) object["offset"] = *failure.offset;
    if (!run.details.is_null()) object.update(run.details);
    context.console.print_json(object);
}

/// What recover_in_place() says that the archive's name holds.
const char* recovery_text(InPlaceOutcome outcome) {
    if (outcome == InPlaceOutcome::vanished) return "archive was removed meanwhile";
    if (outcome == InPlaceOutcome::changed) return "archive was changed or replaced meanwhile";
    if (outcome == InPlaceOutcome::unchanged) return "original archive kept";
    return "repacked archive in place";
}

class Runner {
  public:
    Runner(Context& context, const InPlaceRun& run)
        : context_(context),
          records_(make_directories(context.fs, run.state_directory + "/in-place")),
          run_(run) {
        options_.repack = run.repack;
        options_.verify_source = run.verify_source;
        options_.lock_directory = run.state_directory + "/locks";
        // Without a grace period on network file systems: nobody would come back to remove the old file.
    }

    /// Finishes or rolls back what killed runs left; what fails is left for the next run.
    void recover_leftovers() {
        publish::recover_journal(
            context_.fs, records_, [&](const std::string& path, const publish::RecoveryRecord& record) {
                try {
                    const auto recovered = repack::recover_in_place(context_.fs, path, options_, record);
                    if (recovered)
                        context_.console.message(fmt::format("{}: recovered from an interrupted run: {}",
                                                             path, recovery_text(recovered->outcome)));
                    if (recovered) report_warning(path, recovered->warning);
                    return recovered.has_value();
                } catch (const base::Error&) {
                    report_unrecovered(path);
                    return false;
                }
            });
    }

    ExitCode repack(const std::string& word) {
        ++number_;
        auto path = word;
        Failure failure;
        const auto begin = std::chrono::steady_clock::now();
        std::optional<repack::InPlaceResult> result;
        try {
            path = archive_name(context_.fs, context_.console, word).path;
            result = replace(absolute_path(path));
        } catch (const std::exception&) {
            failure = current_failure();
        }
        if (result) {
            print_outcome(context_, path, *result, std::chrono::steady_clock::now() - begin, run_);
            return text_of(result->outcome, run_).code;
        }
        print_failure(context_, path, failure, run_);
        return failure.code;
    }

  private:
    repack::InPlaceResult replace(const std::string& path) {
        publish::JournalEntry record(context_.fs, records_, path);
        ProgressBar bar(context_.console, numbered_label(number_, run_.paths.size(), archive_label(path)),
                        {base::Stage::repacking, base::Stage::verifying, base::Stage::checking});
        auto options = options_;
        options.repack.task.progress = bar.sink();
        options.journal = [&record](const publish::RecoveryRecord& publication) { record.keep(publication); };
        try {
            auto result =
                run_.work ? run_.work(path, options) : repack::repack_in_place(context_.fs, path, options);
            recover(record, path);
            return result;
        } catch (...) {
            recover(record, path);
            throw;
        }
    }

    /// After the run, however it went. What fails now, a later run does from the record.
    void recover(publish::JournalEntry& record, const std::string& path) {
        if (!record.kept()) return;
        try {
            const auto recovered = repack::recover_in_place(context_.fs, path, options_, *record.kept());
            if (!recovered) return;
            record.remove();
            report_warning(path, recovered->warning);
        } catch (const base::Error&) {
            report_unrecovered(path);
        }
    }

    void report_warning(const std::string& path, const std::string& warning) {
        if (!warning.empty()) context_.console.message(fmt::format("{}: {}", path, warning));
    }

    void report_unrecovered(const std::string& path) {
        context_.console.message(fmt::format("{}: cannot recover from an interrupted run yet: {}", path,
                                             current_failure().message));
    }

    Context& context_;
    io::File records_;
    repack::InPlaceOptions options_;
    std::size_t number_ = 0;  ///< of the archive that is worked on, from 1
    const InPlaceRun& run_;
};

}  // namespace

std::string default_state_directory() {
    if (::geteuid() == 0) return settings::Places().state_dir();
    // A relative $XDG_STATE_HOME is to be ignored, says its specification.
    if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
        return std::string(state) + "/vmad";
    if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
        return std::string(home) + "/.local/state/vmad";
    throw base::UsageError("HOME is not set; set a directory for locks and records with --state-dir");
}

io::File make_directories(io::FileSystem& fs, const std::string& path) {
    for (std::size_t end = 1; end != path.npos;) {
        end = path.find('/', end + 1);
        (void)fs.make_directory(path.substr(0, end), 0700);
    }
    return fs.open(path, O_RDONLY | O_DIRECTORY);
}

ExitCode repack_in_place_all(Context& context, const InPlaceRun& run) {
    Runner runner(context, run);
    runner.recover_leftovers();
    auto code = ExitCode::done;
    for (const auto& path : run.paths) code = worse(code, runner.repack(path));
    return code;
}

}  // namespace vmad::ctl
