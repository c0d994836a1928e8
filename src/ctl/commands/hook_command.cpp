// vmactl hook: whether vzdump tells vmad of each backup.

#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/system_path.hpp"
#include "ctl/arguments.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"
#include "pve/hook_node.hpp"
#include "pve/hook_setup.hpp"
#include "pve/vzdump_config.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "vzdump runs the script that /etc/vzdump.conf names, and takes only one. \"enable\"\n"
    "puts /etc/vmad/vzdump-hook there, which runs the scripts in /etc/vmad/hook.d/\n"
    "too: the one that was named before gets a link in there, 00-vzdump-script.\n"
    "\"disable\" puts it back. What the file held before \"enable\" is kept in\n"
    "/etc/vzdump.conf.before-vmad. A backup job with a script of its own does not run\n"
    "the one of /etc/vzdump.conf, which is warned of.";

constexpr const char* kJsonFooter =
    "With --json: {enabled, script, config, scripts, jobs}, and changed after enable\n"
    "and disable. script is the one in the file config, or null; scripts are those in\n"
    "hook.d, {name, target, obstacle}, where obstacle is why one is not run, or null;\n"
    "jobs are those on this node that do not tell vmad, {id, script}.";

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
                warn("the earlier script {} {}: it is not run until that has changed",
                     node_.shown(change.earlier), obstacle);
        }
        read_overriding_jobs();
        warn_of_overriding_jobs();
        if (context_.options.json) return print_json(&change), ExitCode::done;
        print_line(context_, "hook", change.changed ? "enabled" : "enabled already, nothing changed",
                   Colour::green);
        print_script();
        if (!change.changed) return ExitCode::done;
        if (!change.earlier.empty()) {
            print_line(context_, "earlier", change.earlier);
            print_line(context_, "",
                       std::string("run from ") + pve::kHookDirectory + (change.linked ? "/" : "") +
                           (change.linked ? pve::kEarlierScriptName : ""));
        }
        if (node_.find(pve::kConfigBackupFile, O_PATH))
            print_line(context_, "backup", node_.shown(pve::kConfigBackupFile));
        return ExitCode::done;
    }

    ExitCode disable() {
        const auto change = pve::disable_hook(node_);
        if (change.changed && !change.earlier.empty()) {
            if (const auto obstacle = node_.obstacle(change.earlier); !obstacle.empty())
                warn("the script {} {}: every backup fails until that has changed, or the line is gone",
                     node_.shown(change.earlier), obstacle);
        }
        warn_of_jobs_with_hook();
        read_overriding_jobs();
        if (context_.options.json) return print_json(&change), ExitCode::done;
        print_line(context_, "hook", change.changed ? "disabled" : "not enabled, nothing changed");
        if (change.removed_file)
            print_line(context_, "config",
                       node_.shown(pve::kVzdumpConfigFile) + " removed: vmad had made it");
        else
            print_script();
        return ExitCode::done;
    }

    ExitCode status() {
        const bool enabled = node_.tells_vmad(node_.script());
        if (const auto obstacle = node_.obstacle(pve::kHookScript); enabled && !obstacle.empty())
            warn("{} {}: every backup fails; install vmad again, or \"vmactl hook disable\"",
                 node_.shown(pve::kHookScript), obstacle);
        read_overriding_jobs();
        warn_of_overriding_jobs();
        if (context_.options.json)
            print_json(nullptr);
        else
            print_status(enabled);
        return enabled ? ExitCode::done : ExitCode::failed;
    }

  private:
    template <typename... Values>
    void warn(fmt::format_string<Values...> text, Values&&... values) {
        context_.console.message(fmt::format(text, std::forward<Values>(values)...));
    }

    void read_overriding_jobs() {
        try {
            overriding_jobs_ = node_.overriding_jobs();
        } catch (const base::Error& error) {
            warn_of_unknown_jobs(error);
        }
    }

    /// Once: two actions ask for jobs twice.
    void warn_of_unknown_jobs(const base::Error& error) {
        if (!jobs_are_unknown_)
            warn("whether backup jobs have a script of their own is not known: {}", error.what());
        jobs_are_unknown_ = true;
    }

    void warn_of_overriding_jobs() {
        for (const auto& job : overriding_jobs_)
            warn(
                "the backup job \"{}\" in {} has a script of its own, \"{}\", so vmad does not hear of its "
                "backups: remove the job's script, or have it run {} \"$@\"",
                job.id, node_.shown(pve::kJobsFile), job.script, pve::kHookScript);
    }

    /// They pass when vmad is removed, but once its configuration is purged their script is missing.
    void warn_of_jobs_with_hook() {
        try {
            for (const auto& job : node_.jobs())
                if (node_.is_hook(job.script))
                    warn(
                        "the backup job \"{}\" in {} runs {} itself, and fails once vmad is purged: remove "
                        "the job's script",
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
                   enabled ? "enabled" : "not enabled: vzdump does not tell vmad of backups",
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
        TextTable jobs(
            {{"JOB", TextTable::Align::left, true}, {"ITS OWN SCRIPT", TextTable::Align::left, true}});
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
    bool jobs_are_unknown_ = false;
};

class HookCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.require_subcommand();
        arguments.option("--root", root_, "The node whose files are below DIR").help_text("DIR");
        arguments.footer(std::string(kFooter) + "\n\n" + kJsonFooter);
        enable_ = arguments.subcommand("enable", "Make it vzdump's script, and link the earlier one");
        disable_ = arguments.subcommand("disable", "Put the earlier script back");
        auto status = arguments.subcommand("status", "Whether it does; exits with 1 when not");
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
