// vmactl verify: reads archives to their last byte and checks every rule of the format.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/printable_text.hpp"
#include "verify/published_digest.hpp"
#include "verify/survey.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "Prints one line for each file, and goes on after a bad one. Exits with 6 when an\n"
    "archive is invalid or unsupported, else with 1 when one could not be read.\n"
    "With --json each line is an object with path and result: valid, invalid,\n"
    "unsupported or failed. A valid archive has canonical, departure (where it is not\n"
    "canonical first), digest (equal for archives that restore to equal guests),\n"
    "kind, device_count, extent_count, size_bytes (as stored), archive_bytes\n"
    "(uncompressed) and ctime; the others have error, and offset where it is known.";

nlohmann::json to_json(const verify::Survey& survey) {
    nlohmann::json out{{"result", "valid"},
                       {"kind", codec::format_name(survey.format)},
                       {"canonical", survey.deviation.empty()},
                       {"digest", survey.digest.to_hex()},
                       {"device_count", survey.header.devices.size()},
                       {"extent_count", survey.extent_count},
                       {"size_bytes", survey.stored_bytes},
                       {"archive_bytes", survey.archive_bytes},
                       {"ctime", survey.header.ctime}};
    if (!survey.deviation.empty()) out["departure"] = survey.deviation;
    if (!survey.warning.empty()) out["notice"] = survey.warning;
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
        arguments.operand("FILE", paths_, "Archives, or volume ids; - is standard input").required();
        add_threads_option(arguments, threads_);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        const StopSignals signals;
        auto code = ExitCode::done;
        for (auto& path : paths_) {
            std::optional<verify::Survey> survey;
            Failure failure;
            try {
                path = archive_name(context.fs, path).path;
                survey = read(context, path, signals);
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
    [[nodiscard]] verify::Survey read(Context& context, const std::string& path,
                                      const StopSignals& signals) const {
        ArchiveInput input(context.fs, path, io::CacheUse::keep, {threads_, &signals.flag()});
        ProgressBar bar(context.console, "verifying");
        auto survey = verify::survey(input.source(), task_options(threads_, signals, bar));
        const auto published =
            input.file() != nullptr ? verify::published_digest(context.fs, *input.file()) : std::nullopt;
        if (published && *published != survey.digest.to_hex())
            throw base::InvalidArchive("content-digest",
                                       fmt::format("the content is not what vmad published: the storage has "
                                                   "damaged it since (digest {}, now {})",
                                                   *published, survey.digest.to_hex()));
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

    /// A verdict on an archive is data; that it could not be had is a message.
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
