// vmactl config: shows the configs of an archive, or replaces some of them.

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/commands/in_place_run.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "repack/config_list.hpp"
#include "repack/new_archive.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "Without options, lists the configs, or prints the one called NAME.\n"
    "\n"
    "With --set or --remove, the archive is replaced atomically by a canonical one\n"
    "that has the same disks and the new configs, as by \"vmactl repack --in-place\".\n"
    "With --output, it is left as it is, and the new one is written to NEW.\n"
    "FILE may be /dev/stdin.";

class ConfigCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", archive_, "Path, volume ID, or - for standard input").required();
        arguments.operand("NAME", name_, "The config to print, for example qemu-server.conf");
        arguments.option("--set", set_, "Replace or add a config; repeatable")
            .value_name("NAME=FILE")
            .repeatable();
        arguments.option("--remove", edits_.remove, "Remove a config; repeatable")
            .value_name("NAME")
            .repeatable();
        auto output = arguments.option("--output", output_, "Write a new archive").value_name("NEW");
        arguments.flag("--force", options_.force, "Replace an existing NEW").needs(output);
        add_threads_option(arguments, options_.repack.task.threads);
        add_level_option(arguments, options_.repack.zstd_level);
        arguments.option("--state-dir", state_directory_, "Directory for locks and records")
            .value_name("DIR")
            .excludes(output);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        if (set_.empty() && edits_.remove.empty()) {
            if (!output_.empty())
                throw base::UsageError("--output needs --set or --remove; \"vmactl repack\" makes a copy");
            return show(context);
        }
        if (!name_.empty())
            throw base::UsageError(fmt::format("unexpected operand \"{}\" beside --set or --remove", name_));
        const StopSignals signals;
        options_.repack.task.cancel = &signals.flag();
        edits_.set = read_configs(context.fs, "--set", set_, signals.flag());
        options_.repack.edit_configs = [this](std::vector<vma::Config> configs) {
            return repack::edited(std::move(configs), edits_);
        };
        return output_.empty() ? replace(context) : copy(context);
    }

  private:
    ExitCode show(Context& context) {
        std::vector<vma::Config> configs;
        try {
            archive_ = archive_name(context.fs, context.console, archive_).path;
            ArchiveInput input(context.fs, archive_, io::CacheUse::peek, {});
            base::BufferPool buffers(0, 0, 0);
            configs = vma::ArchiveReader(input.source(), buffers).header().configs;
        } catch (const base::Error&) {
            return report_failure(context.console, archive_);
        }
        name_.empty() ? list(context, configs) : print(context, configs);
        return ExitCode::done;
    }

    static void list(Context& context, const std::vector<vma::Config>& configs) {
        auto names = nlohmann::json::array();
        std::string text;
        for (const auto& config : configs) {
            names.push_back({{"name", config.name}, {"size_bytes", config.data.size()}});
            text += printable(config.name) + "\n";
        }
        context.options.json ? context.console.print_json({{"configs", names}}) : context.console.print(text);
    }

    void print(Context& context, const std::vector<vma::Config>& configs) const {
        const auto found = std::find_if(configs.begin(), configs.end(),
                                        [&](const auto& config) { return config.name == name_; });
        if (found == configs.end()) throw base::Error(repack::no_config(configs, name_));
        if (context.options.json)
            context.console.print_json({{"name", name_}, {"data", found->data}});
        else
            context.console.print_content(found->data);
    }

    ExitCode replace(Context& context) {
        if (archive_ == kStandardStream)
            throw base::UsageError("standard input cannot be replaced; write to a file with --output");
        const auto state =
            state_directory_.empty() ? default_state_directory() : absolute_path(state_directory_);
        return repack_in_place_all(context, {.paths = {archive_},
                                             .state_directory = state,
                                             .repack = options_.repack,
                                             .unchanged_text = "unchanged"});
    }

    ExitCode copy(Context& context) {
        std::optional<engine::RepackResult> result;
        std::string warning;
        options_.in_place_hint = "leave out --output to replace it";
        try {
            archive_ = archive_name(context.fs, context.console, archive_).path;
            ProgressBar bar(context.console, archive_label(archive_),
                            {base::Stage::repacking, base::Stage::verifying});
            auto& task = options_.repack.task;
            task.progress = bar.sink();
            ArchiveInput input(context.fs, archive_, io::CacheUse::keep, {task.threads, task.cancel});
            result = repack::repack_to_file(context.fs, input.source(), input.file(), output_, options_);
            warning = input.source().warning();
        } catch (const base::Error&) {
            return report_failure(context.console, archive_);
        }
        if (!warning.empty()) context.console.message(fmt::format("{}: {}", archive_, warning));
        print_summary(context, *result);
        return ExitCode::done;
    }

    void print_summary(Context& context, const engine::RepackResult& result) const {
        const auto digest = result.fingerprint.digest.to_hex();
        if (context.options.json)
            return context.console.print_json({{"source", archive_},
                                               {"destination", output_},
                                               {"result_bytes", result.result_bytes},
                                               {"digest", digest}});
        context.console.print(fmt::format("{}: {}, verified, digest {}\n", printable(output_),
                                          base::format_size(result.result_bytes), digest));
    }

    std::string archive_;
    std::string name_;
    std::vector<std::string> set_;
    repack::ConfigEdits edits_;
    std::string output_;
    std::string state_directory_;
    repack::NewArchiveOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_config_command() { return std::make_unique<ConfigCommand>(); }

}  // namespace vmad::ctl
