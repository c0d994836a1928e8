// vmactl settings: checks or shows the daemon's settings.

#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/path.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"
#include "settings/settings.hpp"

namespace vmad::ctl {
namespace {

/// Checks what a settings file names against what there is now. Defaults need no check: the package makes
/// them.
class FileCheck {
  public:
    explicit FileCheck(const settings::Settings& settings) : settings_(settings) {}

    void require_directory(const char* key, const std::string& path) {
        std::error_code unknown;
        if (!std::filesystem::is_directory(path, unknown))
            warn(key, fmt::format("there is no directory {}", path));
    }
    void require_program(const char* key, const std::vector<std::string>& command) {
        if (command.empty()) return;
        std::error_code unknown;
        if (!std::filesystem::is_regular_file(command[0], unknown))
            warn(key, fmt::format("there is no program {}", command[0]));
        else if (::access(command[0].c_str(), X_OK) != 0)
            warn(key, fmt::format("{} is not executable", command[0]));
    }

    void require_way_to_notify() {
        if (settings_.notify != settings::Notify::proxmox) return;
        std::error_code unknown;
        for (const auto* way : {"/usr/share/perl5/PVE/Notify.pm", "/usr/sbin/sendmail"})
            if (std::filesystem::exists(base::system_path(way), unknown)) return;
        warn("notify", "there is neither Proxmox VE's notification system nor sendmail");
    }

    [[nodiscard]] std::vector<std::string> take_warnings() { return std::move(warnings_); }

  private:
    void warn(const char* key, const std::string& text) {
        const auto origin = settings_.origins.find(key);
        if (origin == settings_.origins.end()) return;
        warnings_.push_back(
            fmt::format("{}:{}: {}: {}", origin->second.file, origin->second.line, key, text));
    }

    const settings::Settings& settings_;
    std::vector<std::string> warnings_;
};

std::string directory_of(const std::string& path) { return std::filesystem::path(path).parent_path(); }

std::vector<std::string> missing_files(const settings::Settings& settings) {
    FileCheck check(settings);
    for (const auto& directory : settings.directories) check.require_directory("directories", directory);
    check.require_directory("spill_dir", settings.spill_dir);
    check.require_directory("state_dir", settings.state_dir);
    check.require_directory("socket", directory_of(settings.socket));
    if (!settings.metrics_file.empty())
        check.require_directory("metrics_file", directory_of(settings.metrics_file));
    check.require_program("on_success", settings.on_success);
    check.require_program("on_failure", settings.on_failure);
    check.require_way_to_notify();
    return check.take_warnings();
}

class SettingsCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.require_subcommand();
        auto check = arguments.subcommand("check", "Check the settings");
        show_ = arguments.subcommand("show", "Show each key, its value and where that comes from");
        for (auto action : {check, show_}) {
            action.operand("FILE", file_, "Read only FILE, not the standard files");
            action.footer(
                "Exits with 1 if the settings are invalid. \"check\" also warns of directories\n"
                "and programs that do not exist. The daemon applies changes on \"vmactl reload\"\n"
                "or when it starts.");
        }
    }

    ExitCode run(Context& context) override {
        settings::LoadedSettings loaded;
        try {
            loaded = file_.empty() ? settings::load_standard() : settings::load_file(file_);
        } catch (const base::UsageError& error) {
            context.console.error(error.what(), {{"exit_code", static_cast<int>(ExitCode::failed)}});
            return ExitCode::failed;
        }
        if (!show_.named())
            for (auto& warning : missing_files(loaded.settings))
                loaded.warnings.push_back(std::move(warning));
        for (const auto& warning : loaded.warnings) context.console.message(warning);
        if (show_.named())
            show(context, loaded.settings);
        else if (context.options.json)
            context.console.print_json({{"valid", true}, {"warnings", loaded.warnings}});
        else
            context.console.print(printable(file_.empty() ? "settings" : file_) + ": valid\n");
        return ExitCode::done;
    }

  private:
    static void show(Context& context, const settings::Settings& settings) {
        TextTable table(
            {{"KEY"}, {"VALUE", TextTable::Align::left, true}, {"FROM", TextTable::Align::left, true}});
        for (const auto& line : settings::describe(settings)) {
            if (context.options.json)
                context.console.print_json(
                    {{"key", line.key}, {"value", line.value}, {"origin", line.origin}});
            else
                table.add({{std::string(line.key)}, {line.value}, {line.origin}});
        }
        if (!context.options.json) context.console.print(table.render(context.console));
    }

    Arguments show_;
    std::string file_;
};

}  // namespace

std::unique_ptr<Command> make_settings_command() { return std::make_unique<SettingsCommand>(); }

}  // namespace vmad::ctl
