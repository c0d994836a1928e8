// vmactl settings: checks or shows the daemon's settings.

#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"
#include "settings/settings.hpp"

namespace vmad::ctl {
namespace {

class SettingsCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.require_subcommand();
        auto check = arguments.subcommand("check", "Check the settings");
        show_ = arguments.subcommand("show", "Show each key, its value and where that comes from");
        for (auto action : {check, show_}) {
            action.operand("FILE", file_, "Read only FILE, not the standard files");
            action.footer(
                "Exits with 1 if the settings are invalid. The daemon applies changes on\n"
                "\"vmactl reload\" or when it starts.");
        }
    }

    ExitCode run(Context& context) override {
        settings::LoadedSettings loaded;
        try {
            loaded = file_.empty() ? settings::load_standard() : settings::load_file(file_);
        } catch (const base::UsageError& error) {
            context.console.message(error.what());
            return ExitCode::failed;
        }
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
