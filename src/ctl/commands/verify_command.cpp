// vmactl verify: reads archives completely and checks every rule of the format.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/commands/known_archives.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/damage_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "repack/partition_names.hpp"
#include "verify/archive_look.hpp"

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
    "the fault has a place, offset. If the damage of a disk can be told, damage lists\n"
    "disk, offset, bytes and partition, and damage_note says more; last_good_at is\n"
    "when the daemon last found the archive good.";

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

/// What is wrong with an archive beyond its first fault.
struct Found {
    verify::Damage damage;
    std::vector<api::DamagedPlace> places;
    std::optional<std::int64_t> last_good_at;
};

class VerifyCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("FILE", paths_, "Archives or volume IDs; - for standard input").required();
        add_threads_option(arguments, threads_);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        const StopSignals signals;
        KnownArchives known(context);
        auto code = ExitCode::done;
        for (std::size_t number = 1; auto& path : paths_) {
            const auto label = numbered_label(number++, paths_.size(), archive_label(path));
            std::optional<verify::Survey> survey;
            Failure failure;
            Found found;
            try {
                path = archive_name(context.fs, context.console, path).path;
                survey = path == kStandardStream ? read_stream(context, label, signals)
                                                 : look_at(context, path, label, signals, known, found);
            } catch (const std::exception&) {
                failure = current_failure();
            }
            if (survey) {
                print_valid(context, path, *survey);
            } else {
                print_bad(context, path, failure, found);
                code = worse(code, failure.code);
            }
        }
        return code;
    }

  private:
    [[nodiscard]] verify::Survey read_stream(Context& context, const std::string& label,
                                             const StopSignals& signals) const {
        ArchiveInput input(context.fs, kStandardStream, io::CacheUse::keep, {threads_, &signals.flag()});
        ProgressBar bar(context.console, label, {base::Stage::verifying});
        return verify::survey(input.source(), task_options(threads_, signals, bar));
    }

    /// Throws what is wrong with the archive, and sets `found` then.
    [[nodiscard]] verify::Survey look_at(Context& context, const std::string& path, const std::string& label,
                                         const StopSignals& signals, KnownArchives& known,
                                         Found& found) const {
        const auto file = open_archive(context.fs, path);
        const auto record = known.find(absolute_path(path));
        verify::ArchiveLook look;
        {
            ProgressBar bar(context.console, label, {base::Stage::verifying});
            verify::LookOptions options{.task = task_options(threads_, signals, bar),
                                        .recorded = recorded_digest(record)};
            options.expected = [&](const io::File& archive) {
                return access::checksums_of(context.fs, archive, &known.checksums(), signals.flag());
            };
            look = verify::look_at_archive(context.fs, file, options);
        }
        if (look.changed) throw base::Error(path + ": changed by another process meanwhile: try again");
        if (!look.warning.empty()) context.console.message(fmt::format("{}: {}", path, look.warning));
        if (look.fault) {
            found = {look.damage, damaged_places(look.damage), std::nullopt};
            if (record) found.last_good_at = record->verified_at;
            name_partitions(context, file, found, known, signals);
            std::rethrow_exception(look.fault);
        }
        auto survey = *std::move(look.survey);
        if (const auto warning = codec::name_warning(path, survey.format); !warning.empty())
            survey.warning += (survey.warning.empty() ? "" : "; ") + warning;
        return survey;
    }

    static void name_partitions(Context& context, const io::File& file, Found& found, KnownArchives& known,
                                const StopSignals& signals) {
        std::vector<repack::ArchivePlace> places;
        for (std::size_t i = 0; i < found.places.size(); ++i)
            places.push_back(repack::place_for_partition(found.damage.stretches[i]));
        const auto names =
            repack::partition_names(context.fs, file, places, known.checksums(), signals.flag());
        for (std::size_t i = 0; i < names.size(); ++i) found.places[i].partition = names[i];
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
    static void print_bad(Context& context, const std::string& path, const Failure& failure,
                          const Found& found) {
        const bool invalid = failure.code == ExitCode::invalid;
        const auto* result = !invalid ? "failed" : failure.rule.empty() ? "unsupported" : "invalid";
        if (context.options.json) {
            nlohmann::json object{{"path", path}, {"result", result}, {"error", failure.message}};
            if (!failure.rule.empty()) object["rule"] = failure.rule;
            if (failure.offset) object["offset"] = *failure.offset;
            if (!found.places.empty()) object["damage"] = found.places;
            if (!found.damage.note.empty()) object["damage_note"] = found.damage.note;
            if (found.last_good_at) object["last_good_at"] = *found.last_good_at;
            context.console.print_json(object);
        } else if (invalid) {
            const auto line = printable(fmt::format("{}: {}: {}", path, result, failure.message));
            context.console.print(context.console.paint(Colour::red, line) + "\n" +
                                  damage_text(found.damage, found.places, found.last_good_at));
        } else {
            context.console.message(failure.message);
            context.console.print(damage_text(found.damage, found.places, found.last_good_at));
        }
    }

    std::vector<std::string> paths_;
    unsigned threads_ = 1;
};

}  // namespace

std::unique_ptr<Command> make_verify_command() { return std::make_unique<VerifyCommand>(); }

}  // namespace vmad::ctl
