// vmactl verify: reads archives completely and checks every rule of the format.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "verify/published_digest.hpp"
#include "verify/survey.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "Prints one line per file and continues after failures. Exits with 6 if an\n"
    "archive is invalid or unsupported, else with 1 if one could not be read.\n"
    "With --json each line is an object with path and result (valid, invalid,\n"
    "unsupported or failed). Valid archives have canonical, deviation (the first\n"
    "deviation from the canonical form, if any), digest (equal for archives that\n"
    "restore to equal guests), format, device_count, extent_count, size_bytes (as\n"
    "stored), archive_bytes (uncompressed), ctime and, if there is one, warning.\n"
    "Others have error; invalid ones also rule (the ID of the violated rule) and, if\n"
    "the fault has a place, offset.";

nlohmann::json to_json(const verify::Survey& survey) {
    nlohmann::json out{{"result", "valid"},
                       {"format", codec::format_name(survey.format)},
                       {"canonical", survey.deviation.empty()},
                       {"digest", survey.digest.to_hex()},
                       {"device_count", survey.header.devices.size()},
                       {"extent_count", survey.extent_count},
                       {"size_bytes", survey.stored_bytes},
                       {"archive_bytes", survey.archive_bytes},
                       {"ctime", survey.header.ctime}};
    if (!survey.deviation.empty()) out["deviation"] = survey.deviation;
    if (!survey.warning.empty()) out["warning"] = survey.warning;
    return out;
}

std::string describe(const verify::Survey& survey) {
    const auto count = survey.header.devices.size();
    return fmt::format(
        "valid, {}, {} {}, digest {}",
        survey.deviation.empty() ? "canonical" : fmt::format("not canonical ({})", survey.deviation), count,
        count == 1 ? "device" : "devices", survey.digest.to_hex());
}

class VerifyCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("FILE", paths_, "Archives or volume IDs; - for standard input").required();
        add_threads_option(arguments, threads_);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        const StopSignals signals;
        auto code = ExitCode::done;
        for (std::size_t number = 1; auto& path : paths_) {
            const auto label = numbered_label(number++, paths_.size(), archive_label(path));
            std::optional<verify::Survey> survey;
            Failure failure;
            try {
                path = archive_name(context.fs, context.console, path).path;
                survey = read(context, path, label, signals);
            } catch (const std::exception&) {
                failure = current_failure();
            }
            if (survey) {
                print_valid(context, path, *survey);
            } else {
                print_bad(context, path, failure);
                code = worse(code, failure.code);
            }
        }
        return code;
    }

  private:
    [[nodiscard]] verify::Survey read(Context& context, const std::string& path, const std::string& label,
                                      const StopSignals& signals) const {
        ArchiveInput input(context.fs, path, io::CacheUse::keep, {threads_, &signals.flag()});
        ProgressBar bar(context.console, label, {base::Stage::verifying});
        auto survey = verify::survey(input.source(), task_options(threads_, signals, bar));
        const auto published =
            input.file() != nullptr ? verify::published_digest(context.fs, *input.file()) : std::nullopt;
        if (published) published->require(survey.digest, survey.device_digests);
        if (const auto warning = codec::name_warning(path, survey.format); !warning.empty())
            survey.warning += (survey.warning.empty() ? "" : "; ") + warning;
        return survey;
    }

    static void print_valid(Context& context, const std::string& path, const verify::Survey& survey) {
        if (context.options.json) {
            auto object = to_json(survey);
            object["path"] = path;
            context.console.print_json(object);
        } else {
            context.console.print(printable(fmt::format("{}: {}", path, describe(survey))) + "\n");
            if (!survey.warning.empty()) context.console.message(fmt::format("{}: {}", path, survey.warning));
        }
    }

    /// A verdict on an archive is data; a failure to reach one is a message.
    static void print_bad(Context& context, const std::string& path, const Failure& failure) {
        const bool invalid = failure.code == ExitCode::invalid;
        const auto* result = !invalid ? "failed" : failure.rule.empty() ? "unsupported" : "invalid";
        if (context.options.json) {
            nlohmann::json object{{"path", path}, {"result", result}, {"error", failure.message}};
            if (!failure.rule.empty()) object["rule"] = failure.rule;
            if (failure.offset) object["offset"] = *failure.offset;
            context.console.print_json(object);
        } else if (invalid) {
            const auto line = printable(fmt::format("{}: {}: {}", path, result, failure.message));
            context.console.print(context.console.paint(Colour::red, line) + "\n");
        } else {
            context.console.message(failure.message);
        }
    }

    std::vector<std::string> paths_;
    unsigned threads_ = 1;
};

}  // namespace

std::unique_ptr<Command> make_verify_command() { return std::make_unique<VerifyCommand>(); }

}  // namespace vmad::ctl
