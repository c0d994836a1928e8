#include "cli/arguments.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/spelling.hpp"
#include "base/units.hpp"

namespace vmad::cli {
namespace {

/// As CLI11's own, but without the names of options that exclude or need each other, for which lines have no
/// room; a mistake is reported all the same.
class HelpFormatter final : public CLI::Formatter {
  public:
    HelpFormatter() {
        label("REQUIRED", "");
        label("Positionals", "Operands");
        label("SUBCOMMAND", "COMMAND");
    }

    std::string make_option_opts(const CLI::Option* option) const override {
        if (!option->get_option_text().empty()) return " " + option->get_option_text();
        std::string text;
        if (option->get_type_size() != 0 && !option->get_type_name().empty())
            text += " " + get_label(option->get_type_name());
        if (option->get_type_size() != 0 &&
            option->get_expected_max() == CLI::detail::expected_max_vector_size)
            text += " ...";
        return text;
    }
};

/// The command that was named last, or the program itself.
const CLI::App& innermost(const CLI::App& app) {
    const auto named = app.get_subcommands();
    return named.empty() ? app : innermost(*named.front());
}

std::string full_name(const CLI::App& app) {
    return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

/// Not App::help(), which is about the command that was named.
std::string help_of(const CLI::App& app) {
    return app.get_formatter()->make_help(&app, full_name(app), CLI::AppFormatMode::Normal);
}

/// With those of the commands around it, which it takes as well.
std::vector<std::string> options_of(const CLI::App& app) {
    std::vector<std::string> names;
    for (const auto* option : app.get_options()) {
        for (const auto& name : option->get_lnames()) names.push_back("--" + name);
        for (const auto& name : option->get_snames()) names.push_back("-" + name);
    }
    if (app.get_parent() == nullptr) return names;
    const auto around = options_of(*app.get_parent());
    names.insert(names.end(), around.begin(), around.end());
    return names;
}

std::string see_help(const CLI::App& app) { return fmt::format("see \"{} --help\"", full_name(app)); }

std::string unknown(const char* what, const std::string& word, const std::vector<std::string>& known,
                    const CLI::App& app) {
    if (const auto meant = base::similar_word(word, known))
        return fmt::format("unknown {} \"{}\"; did you mean \"{}\"?", what, word, *meant);
    return fmt::format("unknown {} \"{}\"; {}", what, word, see_help(app));
}

std::string unknown_command(const std::string& word, const CLI::App& app) {
    std::vector<std::string> names;
    for (const auto* command : commands_of(app)) names.push_back(command->get_name());
    return unknown("command", word, names, app);
}

/// CLI11 does not name the word that it took for nothing, or misses an operand before that word.
std::string message_of(const CLI::App& program, const CLI::ParseError& error) {
    const auto& app = innermost(program);
    const auto rest = program.remaining(true);
    const auto code = static_cast<CLI::ExitCodes>(error.get_exit_code());
    const std::string_view text = error.what();
    if (code == CLI::ExitCodes::ArgumentMismatch && text.ends_with(" missing"))
        return fmt::format("{} needs a value; {}", text.substr(0, text.find(':')), see_help(app));
    const bool misses = code == CLI::ExitCodes::RequiredError || code == CLI::ExitCodes::ExtrasError;
    if (rest.empty() || !misses) return fmt::format("{}; {}", text, see_help(app));
    if (rest[0].starts_with('-'))
        return unknown("option", rest[0].substr(0, rest[0].find('=')), options_of(app), app);
    if (!commands_of(app).empty()) return unknown_command(rest[0], app);
    return fmt::format("unexpected operand \"{}\"; {}", rest[0], see_help(app));
}

/// A check of a value that says what to write instead. `instead` gives nothing for a value that is good.
template <typename Instead>
CLI::Validator check_value(Instead instead) {
    return CLI::Validator(
        [instead](std::string& value) {
            const std::optional<std::string> text = instead(value);
            return text ? fmt::format("write {}, not \"{}\"", *text, value) : std::string();
        },
        "");
}

template <typename Integer>
CLI::Validator integer_from(Integer least, Integer most) {
    return check_value([=](const std::string& value) -> std::optional<std::string> {
        Integer number{};
        const auto* end = value.data() + value.size();
        const auto [rest, fault] = std::from_chars(value.data(), end, number);
        if (fault == std::errc() && rest == end && number >= least && number <= most) return std::nullopt;
        if (most == std::numeric_limits<Integer>::max()) return fmt::format("an integer from {}", least);
        return fmt::format("an integer from {} to {}", least, most);
    });
}

}  // namespace

Argument& Argument::required() {
    option_->required();
    return *this;
}

Argument& Argument::value_name(const std::string& name) {
    option_->type_name(name);
    return *this;
}

Argument& Argument::help_text(const std::string& text) {
    option_->option_text(text);
    return *this;
}

Argument& Argument::optional_value() {
    // CLI11 takes a value that is left out for its default string, which is empty, and makes that a 0.
    option_->expected(0, 1)->capture_default_str();
    return *this;
}

Argument& Argument::repeatable() {
    option_->expected(1)->take_all();
    return *this;
}

Argument& Argument::environment(const std::string& name) {
    option_->envname(name);
    return *this;
}

Argument& Argument::between(int least, int most) {
    option_->check(integer_from(least, most));
    return *this;
}

Argument& Argument::between(unsigned least, unsigned most) {
    option_->check(integer_from(least, most));
    return *this;
}

Argument& Argument::positive() {
    option_->check(integer_from(std::size_t{1}, std::numeric_limits<std::size_t>::max()));
    return *this;
}

Argument& Argument::one_of(const std::vector<std::string>& words) {
    option_->check(check_value([words](const std::string& value) -> std::optional<std::string> {
        if (std::find(words.begin(), words.end(), value) != words.end()) return std::nullopt;
        const auto meant = base::similar_word(value, words);
        return meant ? *meant : fmt::format("one of {}", fmt::join(words, ", "));
    }));
    return *this;
}

Argument& Argument::excludes(Argument other) {
    option_->excludes(other.option_);
    return *this;
}

Argument& Argument::needs(Argument other) {
    option_->needs(other.option_);
    return *this;
}

bool Argument::given() const { return option_->count() > 0; }

Argument Arguments::flag(const std::string& names, bool& value, const std::string& help) {
    return Argument(app_->add_flag(names, value, help));
}

Argument Arguments::option(const std::string& names, std::string& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::option(const std::string& names, std::vector<std::string>& values,
                           const std::string& help) {
    return Argument(app_->add_option(names, values, help));
}

Argument Arguments::option(const std::string& names, int& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::option(const std::string& names, unsigned& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::option(const std::string& names, std::size_t& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::duration(const std::string& names, std::int64_t& seconds, DurationLimits limits,
                             const std::string& help) {
    auto* option = app_->add_option_function<std::string>(
        names, [&seconds](const std::string& text) { seconds = base::parse_duration(text); }, help);
    // What it is when the value may be left out, and is.
    if (seconds != 0) option->default_str(base::spell_duration(seconds));
    option->check(check_value([=](const std::string& text) -> std::optional<std::string> {
        try {
            const auto given = base::parse_duration(text);
            if (given >= limits.least_seconds && given <= limits.most_seconds) return std::nullopt;
        } catch (const base::UsageError&) {
            // Told with the limits.
        }
        return fmt::format("a duration from {} to {}, for example 90s, 15min or 1h30min",
                           base::spell_duration(limits.least_seconds),
                           base::spell_duration(limits.most_seconds));
    }));
    return Argument(option);
}

// An operand is to CLI11 an option without dashes; its name says all about its type.
Argument Arguments::operand(const std::string& name, std::string& value, const std::string& help) {
    return option(name, value, help).value_name("");
}

Argument Arguments::operand(const std::string& name, std::vector<std::string>& values,
                            const std::string& help) {
    return option(name, values, help).value_name("");
}

Arguments Arguments::subcommand(const std::string& name, const std::string& help) {
    return Arguments(app_->add_subcommand(name, help)->group("Commands"));
}

void Arguments::require_subcommand() { app_->require_subcommand(0, 1); }

void Arguments::footer(const std::string& text) { app_->footer(text); }

bool Arguments::named() const { return app_->parsed(); }

ArgumentParser::ArgumentParser(const std::string& program, const std::string& help,
                               const std::string& version)
    : app_(std::make_unique<CLI::App>(help, program)) {
    app_->set_version_flag("--version", version, "Print the version and exit");
    app_->set_help_flag("-h,--help", "Print this help and exit");
    app_->formatter(std::make_shared<HelpFormatter>());
    app_->fallthrough();
}

ArgumentParser::~ArgumentParser() = default;

void ArgumentParser::add_help_command() {
    auto* help = app_->add_subcommand("help", "Show the help of a command")->group("Commands");
    help->add_option("COMMAND", help_words_, "The command; default: vmactl itself")->type_name("");
}

std::optional<std::string> ArgumentParser::parse(int argc, const char* const* argv) {
    try {
        app_->parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        // Help and version come out as errors too.
        if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::Success))
            throw base::UsageError(message_of(*app_, error));
        std::ostringstream text;
        app_->exit(error, text, text);
        return text.str();
    }
    const auto& named = innermost(*app_);
    if (named.get_name() == "help") return help_of_words();
    // Nothing to do but to say what there is.
    if (!commands_of(named).empty()) return help_of(named);
    return std::nullopt;
}

std::string ArgumentParser::help_of_words() const {
    const CLI::App* app = app_.get();
    for (const auto& word : help_words_) {
        const auto commands = commands_of(*app);
        const auto found = std::find_if(commands.begin(), commands.end(),
                                        [&](const CLI::App* command) { return command->get_name() == word; });
        if (found == commands.end()) throw base::UsageError(unknown_command(word, *app));
        app = *found;
    }
    return help_of(*app);
}

}  // namespace vmad::cli
