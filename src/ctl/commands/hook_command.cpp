// vmactl hook: whether vzdump announces each backup to vmad.

#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/path.hpp"
#include "cli/arguments.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"
#include "pve/hook_node.hpp"
#include "pve/hook_setup.hpp"
#include "pve/vzdump_config.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "vzdump supports a single hook script, named in /etc/vzdump.conf. \"enable\" sets\n"
    "it to /etc/vmad/vzdump-hook, which also runs the scripts in /etc/vmad/hook.d/. A\n"
    "script that was set before is linked there as 00-vzdump-script. \"disable\"\n"
    "restores it. The original file is kept as /etc/vzdump.conf.before-vmad. Backup\n"
    "jobs with their own script do not run the hook. Such jobs are reported as\n"
    "warnings.";

constexpr const char* kJsonFooter =
    "With --json: {enabled, script, config, scripts, jobs}; enable and disable add\n"
    "changed. script is the hook script set in the file config, or null. scripts\n"
    "lists hook.d, {name, target, obstacle}; obstacle is why a script is not run, or\n"
    "null. jobs lists backup jobs of this node without the hook, {id, script}.";

/// A label, and one line of text that gives way where the terminal is too narrow.
void print_line(Context& context, std::string_view label, const std::string& text,
                Colour colour = Colour::none) {
    constexpr std::size_t kLabelWidth = 9;
    const auto fitted = shorten(printable(text), context.console.width() - kLabelWidth);
    context.console.print(
        fmt::format("{:<{}}{}\n", label, kLabelWidth, context.console.paint(colour, fitted)));
}

/// The part that each action has in common.
class HookRun {
  public:
    HookRun(Context& context, const std::string& root) : context_(context), node_(context.fs, root) {}

    ExitCode enable() {
        const auto change = pve::enable_hook(node_);
        if (change.changed && !change.earlier.empty()) {
            if (const auto obstacle = node_.obstacle(change.earlier); !obstacle.empty())
                warn("the previous script {} {}: every backup fails until you fix that or remove its link",
                     node_.shown(change.earlier), obstacle);
        }
        read_overriding_jobs();
        warn_of_overriding_jobs();
        if (context_.options.json) return print_json(&change), ExitCode::done;
        print_line(context_, "hook", change.changed ? "enabled" : "already enabled, nothing changed",
                   Colour::green);
        print_script();
        if (!change.changed) return ExitCode::done;
        if (!change.earlier.empty()) {
            print_line(context_, "previous", change.earlier);
            print_line(context_, "",
                       fmt::format("run from {}{}{}", pve::kHookDirectory, change.linked ? "/" : "",
                                   change.linked ? pve::kEarlierScriptName : ""));
        }
        if (node_.find(pve::kConfigBackupFile, O_PATH))
            print_line(context_, "backup", node_.shown(pve::kConfigBackupFile));
        return ExitCode::done;
    }

    ExitCode disable() {
        const auto change = pve::disable_hook(node_);
        if (change.changed && !change.earlier.empty()) {
            if (const auto obstacle = node_.obstacle(change.earlier); !obstacle.empty())
                warn("the script {} {}: every backup fails until you fix that or remove the line",
                     node_.shown(change.earlier), obstacle);
        }
        warn_of_jobs_with_hook();
        read_overriding_jobs();
        if (context_.options.json) return print_json(&change), ExitCode::done;
        print_line(context_, "hook", change.changed ? "disabled" : "not enabled, nothing changed");
        if (change.removed_file)
            print_line(context_, "config",
                       node_.shown(pve::kVzdumpConfigFile) + " removed (created by vmad)");
        else
            print_script();
        return ExitCode::done;
    }

    ExitCode status() {
        const bool enabled = node_.tells_vmad(node_.script());
        if (const auto obstacle = node_.obstacle(pve::kHookScript); enabled && !obstacle.empty())
            warn("{} {}: every backup fails; reinstall vmad or run \"vmactl hook disable\"",
                 node_.shown(pve::kHookScript), obstacle);
        const bool earlier_runs = !enabled || check_earlier();
        read_overriding_jobs();
        warn_of_overriding_jobs();
        if (context_.options.json)
            print_json(nullptr);
        else
            print_status(enabled);
        return enabled && earlier_runs ? ExitCode::done : ExitCode::failed;
    }

  private:
    template <typename... Values>
    void warn(fmt::format_string<Values...> text, Values&&... values) {
        context_.console.message(fmt::format(text, std::forward<Values>(values)...));
    }

    /// False when the hook fails every backup because of the script that vzdump ran before.
    bool check_earlier() {
        bool good = true;
        for (const auto& script : node_.scripts()) {
            if (script.name != pve::kEarlierScriptName || script.obstacle.empty()) continue;
            good = false;
            warn("the previous script {} {}: every backup fails until you fix that or remove {}/{}",
                 node_.shown(script.target), script.obstacle, node_.shown(pve::kHookDirectory), script.name);
        }
        return good;
    }

    void read_overriding_jobs() {
        try {
            overriding_jobs_ = known_jobs(node_.overriding_jobs());
        } catch (const base::Error& error) {
            warn_of_unknown_jobs(error);
        }
    }

    // Once: one action asks for jobs twice.
    std::vector<pve::BackupJob> known_jobs(pve::BackupJobs jobs) {
        for (const auto& warning : jobs.warnings) context_.console.message_once(warning);
        return std::move(jobs.jobs);
    }
    void warn_of_unknown_jobs(const base::Error& error) {
        context_.console.message_once(
            fmt::format("cannot check backup jobs for their own scripts: {}", error.what()));
    }

    void warn_of_overriding_jobs() {
        for (const auto& job : overriding_jobs_)
            warn(
                "backup job \"{}\" in {} has its own script, \"{}\", so its backups are not announced: "
                "remove that setting, or call {} \"$@\" from the script",
                job.id, node_.shown(pve::kJobsFile), job.script, pve::kHookScript);
    }

    /// They still work when vmad is removed, but fail once its configuration is purged.
    void warn_of_jobs_with_hook() {
        try {
            for (const auto& job : known_jobs(node_.jobs()))
                if (node_.is_hook(job.script))
                    warn(
                        "backup job \"{}\" in {} sets {} as its own script, and fails once vmad is purged: "
                        "remove that setting",
                        job.id, node_.shown(pve::kJobsFile), pve::kHookScript);
        } catch (const base::Error& error) {
            warn_of_unknown_jobs(error);
        }
    }

    void print_script() {
        const auto script = node_.script();
        print_line(context_, "script", script.empty() ? "none" : script);
        print_line(context_, "config", node_.shown(pve::kVzdumpConfigFile));
    }

    void print_status(bool enabled) {
        print_line(context_, "hook",
                   enabled ? "enabled" : "not enabled: vzdump does not announce backups to vmad",
                   enabled ? Colour::green : Colour::yellow);
        print_script();
        TextTable scripts(
            {{"HOOK.D", TextTable::Align::left, true}, {"RUN"}, {"LINK TO", TextTable::Align::left, true}});
        for (const auto& script : node_.scripts())
            scripts.add({{script.name},
                         {script.obstacle.empty() ? "yes" : "no: " + script.obstacle,
                          script.obstacle.empty() ? Colour::none : Colour::yellow},
                         {script.target}});
        if (!scripts.empty()) context_.console.print("\n" + scripts.render(context_.console));
        TextTable jobs({{"JOB", TextTable::Align::left, true}, {"OWN SCRIPT", TextTable::Align::left, true}});
        for (const auto& job : overriding_jobs_) jobs.add({{job.id, Colour::yellow}, {job.script}});
        if (!jobs.empty()) context_.console.print("\n" + jobs.render(context_.console));
    }

    /// The state, and whether it has just been changed.
    void print_json(const pve::HookChange* change) {
        using nlohmann::json;
        const auto text_or_null = [](const std::string& text) { return text.empty() ? json() : json(text); };
        const auto script = node_.script();
        json state{{"enabled", node_.tells_vmad(script)},
                   {"script", text_or_null(script)},
                   {"config", node_.shown(pve::kVzdumpConfigFile)},
                   {"scripts", json::array()},
                   {"jobs", json::array()}};
        if (change != nullptr) state["changed"] = change->changed;
        for (const auto& entry : node_.scripts())
            state["scripts"].push_back({{"name", entry.name},
                                        {"target", text_or_null(entry.target)},
                                        {"obstacle", text_or_null(entry.obstacle)}});
        for (const auto& job : overriding_jobs_)
            state["jobs"].push_back({{"id", job.id}, {"script", job.script}});
        context_.console.print_json(state);
    }

    Context& context_;
    pve::HookNode node_;
    std::vector<pve::BackupJob> overriding_jobs_;
};

class HookCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.require_subcommand();
        arguments.option("--root", root_, "Use DIR as the root directory").help_text("DIR");
        arguments.footer(std::string(kFooter) + "\n\n" + kJsonFooter);
        enable_ = arguments.subcommand("enable", "Set the hook as vzdump's script");
        disable_ = arguments.subcommand("disable", "Restore the previous script");
        auto status = arguments.subcommand(
            "status", "Show whether the hook is enabled (exit code 1: no,\nor every backup fails)");
        for (auto action : {enable_, disable_, status}) action.footer(kJsonFooter);
    }

    ExitCode run(Context& context) override {
        try {
            HookRun run(context, root_.empty() ? base::system_path("") : root_);
            if (enable_.named()) return run.enable();
            if (disable_.named()) return run.disable();
            return run.status();
        } catch (const base::SystemError& error) {
            if (error.number() != EACCES && error.number() != EPERM) throw;
            throw base::Error(fmt::format("{}: run as root", error.what()));
        }
    }

  private:
    Arguments enable_;
    Arguments disable_;
    std::string root_;
};

}  // namespace

std::unique_ptr<Command> make_hook_command() { return std::make_unique<HookCommand>(); }

}  // namespace vmad::ctl
