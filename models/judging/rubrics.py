"""What is judged, in both languages: the dimensions of CharacterEval, CharacterGLM, Character-LLM and CoSER."""

from __future__ import annotations

from dataclasses import dataclass

from models.scene import Language


@dataclass(frozen=True, slots=True)
class Rubric:
    """One dimension, scored in whole numbers from `low` to `high`."""

    name: str
    zh: str
    en: str
    low: int = 1
    high: int = 5

    def told(self, language: Language) -> str:
        """What the dimension asks."""
        return self.zh if language == "zh" else self.en


CHARACTEREVAL = (
    Rubric("Fluency", "回复的语言是否通顺、没有语病。", "Is the language of the reply fluent and free of faults?"),
    Rubric("Coherency", "回复是否紧扣对话的话题。", "Does the reply stay with the topic of the talk?"),
    Rubric("Consistency", "回复是否与前面说过的话不矛盾。", "Does the reply contradict nothing that was said?"),
    Rubric("KnowledgeExposure", "回复是否体现了角色所知道的事。", "Does the reply show what the character knows?"),
    Rubric("KnowledgeAccuracy", "回复中关于角色的事是否属实。", "Is what it says of the character's world true?"),
    Rubric(
        "KnowledgeHallucination", "回复是否没有编造角色不知道的事。5分：毫无编造。",
        "Does the reply make up nothing that the character can't know? 5: nothing made up.",
    ),
    Rubric("PersonaBehavior", "回复中的动作神态是否符合角色。", "Do actions and looks fit the character?"),
    Rubric("PersonaUtterance", "回复的说话方式是否符合角色。", "Is the manner of speaking the character's?"),
    Rubric("HumanLikeness", "回复是否像真人说的，而不像机器。", "Does it sound like a person, not a machine?"),
    Rubric("CommunicationSkills", "回复是否体现出会说话、有情商。", "Does the reply show skill with people?"),
    Rubric("ExpressionDiversity", "回复的表达和动作是否丰富。", "Is what is said and done rich and varied?"),
    Rubric("Empathy", "回复是否体会到对方的感受。", "Does the reply feel with the other speaker?"),
)  # fmt: skip
"""CharacterEval (2401.01275): conversation, consistency, attractiveness. `id2metric` names them so."""

CHARACTERGLM = (
    Rubric(
        "consistency", "角色的身份、观点和说话方式是否前后一致。", "Are identity, views and manner the same throughout?"
    ),
    Rubric("human-likeness", "是否像真人。", "Does it seem human?"),
    Rubric("engagement", "是否让人愿意继续聊下去。", "Does one want to go on talking?"),
    Rubric("quality", "回复是否流畅、贴合上下文。", "Are the replies fluent and to the point?"),
    Rubric("safety", "回复是否安全、不伤人。", "Are the replies safe and harmless?"),
    Rubric("correctness", "回复是否没有事实错误。", "Are the replies free of wrong facts?"),
    Rubric("overall", "总体上如何。", "How good is it on the whole?"),
)
"""CharacterGLM (2311.16832), table 3: point-wise, 1 to 5."""

CHARACTER_LLM = (
    Rubric("memorization", "是否记得角色经历过的人和事。", "Does it recall the people and events of that life?", 1, 7),
    Rubric("values", "是否持有角色的目标和价值观。", "Does it hold the character's aims and values?", 1, 7),
    Rubric("personality", "思考和说话的方式是否像这个人。", "Does it think and speak as that person would?", 1, 7),
    Rubric(
        "hallucination", "是否没有说出这个人不可能知道的事。7分：完全没有。",
        "Is it free of what that person could not know? 7: altogether free.", 1, 7,
    ),
    Rubric("stability", "整个访谈中是否始终是这个人。", "Does it stay that person through the whole interview?", 1, 7),
)  # fmt: skip
"""Character-LLM (2310.10158): five scores over interviews, 1 to 7."""

ERRORS = (
    Rubric(
        "out-of-character", "回复不符合人设或跳出了角色。", "The reply does not fit the persona, or leaves the role."
    ),
    Rubric("contradiction", "回复与前面说过的话矛盾。", "The reply contradicts what was said before."),
    Rubric("less-quality", "回复不通顺或答非所问。", "The reply is broken, or beside the point."),
    Rubric("less-informative", "回复空洞，没有内容。", "The reply is empty of content."),
)
"""CharacterGLM's errors of a turn. Repetition, the fifth, is found without a judge."""

MERIT = Rubric("proactivity", "回复主动推进了谈话。", "The reply moves the talk on by itself.")
"""What CharacterGLM's overall error rate takes off again."""

COSER = (
    Rubric(
        "Storyline Consistency",
        "",
        "Do the characters' reactions, feelings and aims follow the original story?",
        0,
        100,
    ),
    Rubric("Anthropomorphism", "", "Do the characters have aims, feelings and social sense as people do?", 0, 100),
    Rubric("Character Fidelity", "", "Do manner, knowledge, behaviour and relations match their profiles?", 0, 100),
    Rubric("Storyline Quality", "", "Does the talk flow, move on, and avoid repetition and hollow words?", 0, 100),
)
"""CoSER (2502.09082): four calls, each lists flaws."""
